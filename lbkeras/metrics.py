"""The quantities that a run logs: name, label, unit and better direction of each."""

import dataclasses
import re
from collections.abc import Mapping
from typing import Any

from lbkeras.checks import number
from lbkeras.derived import column_of, derived, target_name
from lbkeras.errors import UserError, unknown_name
from lbkeras.keras_internals.names import class_named, direction, snake_case

HIGHER, LOWER = "higher", "lower"
VALIDATION = "val_"  # prefix of metrics on unseen examples
ACCURACY = "accuracy"  # Keras' name for the accuracy that fits loss and outputs
ACCURACY_LOSS = "SparseCategoricalCrossentropy"  # a config's default
# Losses whose labels are class indices.
OF_CLASS_NUMBERS = (ACCURACY_LOSS, "LabelSmoothingCrossentropy")


@dataclasses.dataclass(frozen=True)
class Metric:
    """A quantity that a run logs.

    Attributes:
        name: name in the history, the record, TensorBoard and claims.
        label: label in a plot, without the unit.
        unit: unit in which it is shown; "%": values are fractions of 1.
        better: `"higher"` or `"lower"` for what lbkeras measures; None for other quantities, for
            which the config says it.
        cost: whether it counts what a run spent rather than how good its model is.
        count: whether the plan or the model determines it: it is the same for every seed, unless a
            callback controls the batch size.
    """

    name: str
    label: str
    unit: str = ""
    better: str | None = None
    cost: bool = False
    count: bool = False

    @property
    def axis(self) -> str:
        """The label with its unit."""
        return f"{self.label} ({self.unit})" if self.unit else self.label

    @property
    def is_share(self) -> bool:
        """Whether it is shown in percent."""
        return self.unit == "%"

    @property
    def factor(self) -> int:
        """Factor from a value to the value in its unit: 100 for percent, else 1."""
        return 100 if self.is_share else 1


NOISE_SCALE = "gradient_noise_scale"
FGSM_ACCURACY = f"{VALIDATION}fgsm_{ACCURACY}"
PARAMETERS = "trainable_parameters"  # in the record only, as it never changes
_COUNT: dict[str, Any] = dict(better=LOWER, cost=True, count=True)
_LOGGED_BY_EVERY_RUN = (  # without "epochs" these are the columns of its history, in order
    Metric("updates", "parameter updates", **_COUNT),
    Metric("examples_seen", "examples seen", **_COUNT),
    Metric("epochs", "epochs", **_COUNT),
    Metric("batch_size", "batch size", "examples"),
    Metric("learning_rate", "learning rate"),
    Metric("momentum", "momentum"),
    Metric("noise_scale", "noise scale ε·N/(B·(1−m))"),
    Metric("loss", "training loss", better=LOWER),
    Metric("accuracy", "training accuracy", "%", HIGHER),
    Metric("val_loss", "test loss", better=LOWER),
    Metric("val_accuracy", "test accuracy", "%", HIGHER),
    Metric("seconds", "wall clock", "s, training", LOWER, cost=True),
    Metric("examples_per_second", "examples per second"),
)
_LOGGED_BY_SOME = (
    Metric("consensus_distance", "consensus distance", better=LOWER),
    Metric(NOISE_SCALE, "gradient noise scale", "examples"),
    Metric(FGSM_ACCURACY, "test accuracy under FGSM", "%", HIGHER),
)
_OF_THE_MODEL = Metric(PARAMETERS, "trainable parameters", **_COUNT)
_KNOWN = {
    metric.name: metric for metric in (*_LOGGED_BY_EVERY_RUN, *_LOGGED_BY_SOME, _OF_THE_MODEL)
}
_SHARPNESS = re.compile(r"sharpness(_subspace_\d+)?(_\d+(\.\d+)?e[+-]?\d+)?")
_USUAL = 1e-3  # the box of a sharpness whose name has none

COLUMNS = tuple(metric.name for metric in _LOGGED_BY_EVERY_RUN if metric.name != "epochs")
ACCURACIES = tuple(metric.name for metric in _LOGGED_BY_EVERY_RUN if metric.is_share)
COSTS = tuple(metric.name for metric in _LOGGED_BY_EVERY_RUN if metric.cost)
# How good the model is: the final values of every run.
FINALS = tuple(m.name for m in _LOGGED_BY_EVERY_RUN if m.better and not m.cost)

_NOISE_SCALE = (
    NOISE_SCALE,
    f"{NOISE_SCALE}_error",
    "gradient_variance",
    "gradient_squared_norm",
)
_LOGGED = {
    "GradientNoiseScale": _NOISE_SCALE,
    "AdaptiveBatchSize": _NOISE_SCALE,
    "AdversarialAccuracy": (FGSM_ACCURACY,),
    "AdaScale": (*_NOISE_SCALE, "adascale_gain", "adascale_progress"),
    "AutoWU": (
        "auto_wu_warming_up",
        "auto_wu_warmup_epochs",
        "auto_wu_peak_learning_rate",
        "auto_wu_restored_epoch",
        "auto_wu_votes",
        "auto_wu_minimum_learning_rate",
    ),
}


def of(name: str) -> Metric:
    """Returns the Metric of a name; one that lbkeras does not log is derived from the name."""
    if name in _KNOWN:
        return _KNOWN[name]
    if found := derived(name):
        column = of(found.column)
        unit = column.unit if found.unit is None else found.unit
        label = found.label.format(column.label, _shown(name, found.target, column))
        return Metric(name, label, unit, found.better or column.better, found.cost)
    share = name == ACCURACY or name.endswith(f"_{ACCURACY}")
    better = HIGHER if share else LOWER if name.endswith("_loss") else None
    if _SHARPNESS.fullmatch(name):
        better = LOWER
    label = re.sub(rf"^{VALIDATION}", "test_", name).replace("_", " ")
    return Metric(name, label, "%" if share else "", better)


def _shown(name: str, target: float | None, column: Metric) -> str:
    if target is None:
        return ""
    if column.is_share and not 0 < target <= 1:
        raise UserError(
            f"{name}: expected a target above 0 and up to 1, a share of the examples, received "
            f"{target:g}"
        )
    return f"{column.factor * target:g} %" if column.is_share else f"{target:g}"


def targets(values: Mapping[str, float], ways: Mapping[str, str | None]) -> list[str]:
    """Returns the names of targets, to be put after `updates_to_`, `epochs_to_`, `seconds_to_`.

    >>> targets({"val_accuracy": 0.759}, {"val_accuracy": "higher"})
    ['val_accuracy_at_least_0.759']

    Args:
        values: for each metric the value to reach.
        ways: for each measured metric `"higher"` or `"lower"`, whichever is better; None: unknown.

    Raises:
        UserError: a metric is not measured, its better direction is unknown, or its value cannot be
            reached.
    """
    names = []
    for metric, value in values.items():
        if metric not in ways:
            raise UserError(unknown_name("targets", metric, ways))
        value, better = number(f"targets.{metric}", value, expected="a number"), ways[metric]
        if better is None:
            raise UserError(
                f"targets.{metric}: expected a metric whose better direction is known, received "
                "one for which neither Keras nor lbkeras knows it"
            )
        names.append(target_name(metric, value, better))
        of(f"updates_to_{names[-1]}")
    return names


def compiled(settings: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """Returns the metrics that an arm's model is compiled with: logged name -> entry.

    An entry of the section `metrics` holds the metric's arguments and three keys of lbkeras:
    `name`, the metric (default: the entry's key), `output`, the output of the model that it
    measures, and `better`.

    Args:
        settings: the arm's sections, as returned by `experiment.arm_settings`.

    >>> list(compiled({"metrics": {"AUC": {}, "top_5": {"name": "TopKCategoricalAccuracy"}}}))
    ['auc', 'top_5']
    """
    entries = {}
    for key, entry in settings.get("metrics", default_metrics(settings.get("loss"))).items():
        entry = {"name": key} | entry
        logged = ACCURACY if entry["name"] == ACCURACY else snake_case(key)
        output = f"{entry['output']}_" if "output" in entry else ""
        entries[output + logged] = entry
    return entries


def default_metrics(loss: Mapping[str, Any] | None) -> dict[str, dict]:
    """Returns the default section `metrics`: the accuracy, if the loss is a cross-entropy.

    Args:
        loss: the section `loss`; None: the default loss, a cross-entropy.
    """
    name = ACCURACY_LOSS if loss is None else loss.get("name", "")
    return {ACCURACY: {}} if str(name).lower().endswith("crossentropy") else {}


def better(name: str, settings: Mapping[str, Mapping[str, Any]]) -> str | None:
    """Returns the better direction of an arm's final value.

    None: neither lbkeras nor Keras nor the arm's settings say it.

    >>> better("val_auc", {"metrics": {"AUC": {}}})
    'higher'
    """
    if found := derived(name):
        return found.better or better(found.column, settings)
    entry = compiled(settings).get(name.removeprefix(VALIDATION), {})
    kind = class_named("keras.metrics", entry.get("name", ""))
    of_keras = {"up": HIGHER, "down": LOWER}.get(direction(kind) if kind else None)
    return entry.get("better") or of_keras or of(name).better


def of_report(settings: Mapping[str, Mapping[str, Any]]) -> str:
    """Returns the default metric of a report.

    It is `val_accuracy` if the arm measures it, else the arm's first metric on unseen examples,
    else the loss on them.
    """
    names = [ACCURACY] if ACCURACY in compiled(settings) else [*compiled(settings), "loss"]
    return VALIDATION + names[0]


def is_measured(name: str, settings: Mapping[str, Mapping[str, Any]]) -> bool:
    """Whether the runs of an arm have this final value, measured or derived from their history.

    >>> is_measured("val_loss_median_of_last_5", {"optimizer": {"name": "SGD"}})
    True
    """
    return column_of(name) in measured(settings)


def measured_at_the_end(name: str) -> bool:
    """Whether callbacks measure it at the end of a run, in addition to loss and accuracy."""
    of_callbacks = NOISE_SCALE, FGSM_ACCURACY
    return name.startswith(("sharpness", "consensus_distance")) or name in of_callbacks


def noise_scale_is_lower_bound(values: Mapping[str, Any]) -> bool:
    """Whether the gradient noise scale of a row or a run is only a lower bound.

    If |G|² is not above its error, `GradientNoiseScale` logs the bound both as the value and as its
    error.
    """
    value = values.get(NOISE_SCALE)
    return value is not None and value == values.get(f"{NOISE_SCALE}_error")


def measured(settings: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Returns the names of the final values that a run of an arm has.

    Args:
        settings: the arm's sections, as returned by `experiment.arm_settings`.
    """
    names = [prefix + name for name in (*compiled(settings), "loss") for prefix in ("", VALIDATION)]
    names += (*COSTS, PARAMETERS)
    if settings["optimizer"].get("num_nodes"):
        names.append("consensus_distance")
    for key, arguments in settings.get("callbacks", {}).items():
        callback = arguments.get("name", key)
        if callback == "Sharpness":
            names += _sharpness_names(arguments)
        names += _LOGGED.get(callback, ())
    return names


def sharpness_name(dimensions: int | None, epsilon: float) -> str:
    """Returns the name of the sharpness in `dimensions` random directions and a box of `epsilon`.

    None as `dimensions` means the whole space.

    >>> sharpness_name(None, 1e-3), sharpness_name(100, 5e-4)
    ('sharpness', 'sharpness_subspace_100_5e-4')
    """
    import numpy as np

    name = "sharpness" if dimensions is None else f"sharpness_subspace_{dimensions}"
    if epsilon == _USUAL:
        return name
    return f"{name}_{np.format_float_scientific(epsilon, trim='-', exp_digits=1)}"


def _sharpness_names(arguments: Mapping[str, Any]) -> list[str]:
    """Returns the names that callbacks.Sharpness logs; none if it will refuse its arguments."""
    epsilons = arguments.get("epsilons", (1e-3, 5e-4))
    dimensions = arguments.get("subspace_dimensions", (None, 100))
    if not all(isinstance(values, list | tuple) for values in (epsilons, dimensions)):
        return []
    return [sharpness_name(number, epsilon) for number in dimensions for epsilon in epsilons]
