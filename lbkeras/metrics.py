"""What a run logs: of each quantity the name, label, unit, better direction and cost, once."""

import dataclasses
import re
from collections.abc import Mapping
from typing import Any

from lbkeras.checks import number
from lbkeras.derived import column_of, derived, target_name
from lbkeras.errors import UserError, unknown_name
from lbkeras.keras_internals.names import class_named, direction, snake_case

HIGHER, LOWER = "higher", "lower"
VALIDATION = "val_"  # begins the name of what is measured on unseen examples
ACCURACY = "accuracy"  # Keras' name of the accuracy that suits loss and outputs
ACCURACY_LOSS = "SparseCategoricalCrossentropy"  # where a config says nothing
# Losses whose labels are numbers of classes.
OF_CLASS_NUMBERS = (ACCURACY_LOSS, "LabelSmoothingCrossentropy")


@dataclasses.dataclass(frozen=True)
class Metric:
    """A quantity that a run logs.

    Attributes:
        name: in the history, the record, TensorBoard and claims.
        label: in a picture, without its unit.
        unit: in which it is shown; "%": values are shares of 1.
        better: `"higher"` or `"lower"` for what lbkeras measures; None for another: who names it
            says it.
        cost: whether it counts what a run spent rather than how good its model is.
        count: whether plan or model fix it: the same for every seed, unless a callback steers the
            batch size.
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
        """Whether it is shown in per cent."""
        return self.unit == "%"

    @property
    def factor(self) -> int:
        """How many of its unit a value of 1 is."""
        return 100 if self.is_share else 1


NOISE_SCALE = "gradient_noise_scale"
FGSM_ACCURACY = f"{VALIDATION}fgsm_{ACCURACY}"
PARAMETERS = "trainable_parameters"  # of the record, as nothing changes it
_COUNT: dict[str, Any] = dict(better=LOWER, cost=True, count=True)
_LOGGED_BY_EVERY_RUN = (  # but for the number of epochs the columns of its history, in order
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
_USUAL = 1e-3  # the box that a sharpness without one in its name means

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
    """What is known of a quantity; of one that lbkeras does not log, what its name says."""
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
    """The names of targets, each of which follows `updates_to_`, `epochs_to_` and `seconds_to_`.

    >>> targets({"val_accuracy": 0.759}, {"val_accuracy": "higher"})
    ['val_accuracy_at_least_0.759']

    Args:
        values: the value to be reached of each metric.
        ways: which way each that is measured is better; None: not known.

    Raises:
        UserError: a metric that is not measured or whose better direction is not known, or a value
            that cannot be reached.
    """
    names = []
    for metric, value in values.items():
        if metric not in ways:
            raise UserError(unknown_name("targets", metric, ways))
        value, better = number(f"targets.{metric}", value, expected="a number"), ways[metric]
        if better is None:
            raise UserError(
                f"targets.{metric}: expected a metric of which it is known which way it is better, "
                "received one of which neither Keras nor lbkeras knows it"
            )
        names.append(target_name(metric, value, better))
        of(f"updates_to_{names[-1]}")
    return names


def compiled(settings: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """The metrics that an arm's model is compiled with: the name that each logs, and its entry.

    An entry of the section `metrics` is the metric's arguments and what is ours of it: `name`, the
    metric, which without it is the entry's key; `output`, of the model, that it is of; `better`.

    Args:
        settings: the arm's sections, as `experiment.arm_settings` returns them.

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
    """The section `metrics` where a config has none: the accuracy, where its loss classifies.

    Args:
        loss: the section `loss`; None: cross-entropy of classes, as where a config has none.
    """
    name = ACCURACY_LOSS if loss is None else loss.get("name", "")
    return {ACCURACY: {}} if str(name).lower().endswith("crossentropy") else {}


def better(name: str, settings: Mapping[str, Mapping[str, Any]]) -> str | None:
    """Which way a final value of an arm is better; None: neither lbkeras, Keras nor it says.

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
    """The metric that a report is about where nothing else is said.

    `val_accuracy` where that is measured, otherwise the first of the arm's metrics on unseen
    examples, otherwise the loss on them.
    """
    names = [ACCURACY] if ACCURACY in compiled(settings) else [*compiled(settings), "loss"]
    return VALIDATION + names[0]


def is_measured(name: str, settings: Mapping[str, Mapping[str, Any]]) -> bool:
    """Whether a run of an arm has a final value, measured or derived from its history.

    >>> is_measured("val_loss_median_of_last_5", {"optimizer": {"name": "SGD"}})
    True
    """
    return column_of(name) in measured(settings)


def measured_at_the_end(name: str) -> bool:
    """Whether callbacks measure it at the end of a run, beside loss and accuracy."""
    of_callbacks = NOISE_SCALE, FGSM_ACCURACY
    return name.startswith(("sharpness", "consensus_distance")) or name in of_callbacks


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
