"""A run's final values by name: which a run has, which way each is better, which are counts."""

import re
from collections.abc import Mapping
from typing import Any

HIGHER, LOWER = "higher", "lower"
ACCURACIES = ("accuracy", "val_accuracy")  # shares of the examples
# What the plan fixes: the same for every seed, unless a callback steers the batch size.
COUNTS = ("updates", "examples_seen", "epochs")
COSTS = (*COUNTS, "seconds")
_OF_EVERY_RUN = {
    **dict.fromkeys(ACCURACIES, HIGHER),
    **dict.fromkeys(("loss", "val_loss", *COSTS), LOWER),
}
_SHARPNESS = re.compile(r"sharpness(_subspace_\d+)?(_\d+(\.\d+)?e[+-]?\d+)?")
_USUAL = 1e-3  # the box that a sharpness without one in its name means

NOISE_SCALE = "gradient_noise_scale"
_NOISE_SCALE = (
    NOISE_SCALE,
    f"{NOISE_SCALE}_error",
    "gradient_variance",
    "gradient_squared_norm",
)
_LOGGED = {
    "GradientNoiseScale": _NOISE_SCALE,
    "AdaptiveBatchSize": _NOISE_SCALE,
    "AdaScale": (*_NOISE_SCALE, "adascale_gain", "adascale_progress"),
    "AutoWU": (
        "auto_wu_warming_up",
        "auto_wu_warmup_epochs",
        "auto_wu_peak_learning_rate",
        "auto_wu_votes",
        "auto_wu_minimum_learning_rate",
    ),
}


def better(metric: str) -> str | None:
    """`"higher"` or `"lower"` for what lbkeras measures; None for another: who names it says it."""
    if metric == "consensus_distance" or _SHARPNESS.fullmatch(metric):
        return LOWER
    return _OF_EVERY_RUN.get(metric)


def noise_scale_is_lower_bound(values: Mapping[str, Any]) -> bool:
    """Whether a row's or a run's gradient noise scale is only a lower bound, its own error.

    So `GradientNoiseScale` logs it where |G|² is not above its error.
    """
    value = values.get(NOISE_SCALE)
    return value is not None and value == values.get(f"{NOISE_SCALE}_error")


def measured(settings: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """The final values that a run of an arm has.

    Args:
        settings: the arm's sections, as `experiment.arm_settings` returns them.
    """
    names = list(_OF_EVERY_RUN)
    if settings["optimizer"].get("num_nodes"):
        names.append("consensus_distance")
    for callback, arguments in settings.get("callbacks", {}).items():
        if callback == "Sharpness":
            names += _sharpness_names(arguments)
        names += _LOGGED.get(callback, ())
    return names


def sharpness_name(dimensions: int | None, epsilon: float) -> str:
    """The name of a sharpness in so many random directions (None: all) and a box that wide.

    >>> sharpness_name(None, 1e-3), sharpness_name(100, 5e-4)
    ('sharpness', 'sharpness_subspace_100_5e-4')
    """
    import numpy as np

    name = "sharpness" if dimensions is None else f"sharpness_subspace_{dimensions}"
    if epsilon == _USUAL:
        return name
    return f"{name}_{np.format_float_scientific(epsilon, trim='-', exp_digits=1)}"


def _sharpness_names(arguments: Mapping[str, Any]) -> list[str]:
    """What callbacks.Sharpness logs; nothing where it will refuse its arguments."""
    epsilons = arguments.get("epsilons", (1e-3, 5e-4))
    dimensions = arguments.get("subspace_dimensions", (None, 100))
    if not all(isinstance(values, list | tuple) for values in (epsilons, dimensions)):
        return []
    return [sharpness_name(number, epsilon) for number in dimensions for epsilon in epsilons]
