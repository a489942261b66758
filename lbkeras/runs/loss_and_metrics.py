"""Makes the loss and the metrics with which an arm's model is compiled."""

import functools
import inspect

import keras

from lbkeras import metrics
from lbkeras.config import LOSS as DEFAULT_LOSS
from lbkeras.config import is_own
from lbkeras.errors import UserError
from lbkeras.runs.components import call, class_of, find, imported
from lbkeras.runs.config_checks import LOSS, METRICS, check_arguments


def loss_and_metrics(settings: dict) -> dict:
    """Makes the arguments `loss`, `loss_weights` and `metrics` of `model.compile`.

    Args:
        settings: the arm's sections.

    Raises:
        UserError: the user's own loss or metric does not exist or fails, or an argument is not
            taken.
    """
    section = settings.get(LOSS, DEFAULT_LOSS)
    if "name" in section:
        losses = {"loss": _loss(LOSS, section)}
    else:
        losses = {
            "loss": {output: _loss(f"{LOSS}.{output}", each) for output, each in section.items()},
            "loss_weights": {output: each.get("weight", 1.0) for output, each in section.items()},
        }
    return losses | {"metrics": _metrics(settings)}


def _loss(place: str, entry: dict):
    arguments = {key: value for key, value in entry.items() if key not in ("name", "weight")}
    name = entry["name"]
    if not is_own(name):
        kind = find(f"{place}.name", LOSS, class_of(LOSS, name))
        check_arguments(place, kind, arguments)
        return call(place, name, kind, arguments)
    found = imported(f"{place}.name", name)
    if _is_of_targets(found):
        return _with_arguments(place, found, arguments)
    check_arguments(place, found, arguments)
    made = call(place, name, found, arguments)
    if not callable(made):
        raise _no_use(place, "loss", name, made)
    return made


def _metrics(settings: dict):
    """Makes a list of metrics, or one list per output if the metrics name outputs."""
    entries = metrics.compiled(settings)
    keys = settings.get(METRICS, entries)
    made = [
        _metric(f"{METRICS}.{key}", logged, entry)
        for key, (logged, entry) in zip(keys, entries.items(), strict=True)
    ]
    outputs = [entry.get("output") for entry in entries.values()]
    if not any(outputs):
        return made
    return {
        output: [metric for metric, of in zip(made, outputs, strict=True) if of == output]
        for output in dict.fromkeys(outputs)
    }


def _metric(place: str, logged: str, entry: dict):
    name, output = entry["name"], entry.get("output")
    arguments = {key: v for key, v in entry.items() if key not in ("name", "output", "better")}
    logged = logged.removeprefix(f"{output}_") if output else logged
    if name == metrics.ACCURACY:
        if arguments:
            raise UserError(
                f"{place}: expected no arguments for {name!r}, received {', '.join(arguments)}; "
                "SparseCategoricalAccuracy, BinaryAccuracy and others take some"
            )
        return name
    if not is_own(name):
        kind = find(f"{place}.name", METRICS, class_of(METRICS, name))
        check_arguments(place, kind, arguments)
        return call(place, name, kind, arguments | {"name": logged})
    found = imported(f"{place}.name", name)
    if _is_of_targets(found):
        function = _with_arguments(place, found, arguments)
        return keras.metrics.MeanMetricWrapper(function, name=logged)
    check_arguments(place, found, arguments | {"name": logged})
    made = call(place, name, found, arguments | {"name": logged})
    if not isinstance(made, keras.metrics.Metric):
        raise _no_use(place, "metric", name, made)
    return made


def _is_of_targets(found) -> bool:
    """Whether it is a function `(y_true, y_pred)` and not one that makes a loss or metric."""
    if inspect.isclass(found):
        return False
    needed = [p for p in inspect.signature(found).parameters.values() if p.default is p.empty]
    return len(needed) >= 2


def _with_arguments(place: str, function, arguments: dict):
    """Returns a function of `(y_true, y_pred)` with its further arguments bound."""
    if not arguments:
        return function
    targets = list(inspect.signature(function).parameters)[:2]
    check_arguments(place, function, dict.fromkeys(targets) | arguments)

    @functools.wraps(function)
    def with_arguments(y_true, y_pred):
        return function(y_true, y_pred, **arguments)

    return with_arguments


def _no_use(place: str, what: str, name: str, made) -> UserError:
    return UserError(
        f"{place}: expected a function (y_true, y_pred) or one that makes a Keras {what}, received "
        f"{name!r}, which makes a {type(made).__name__}"
    )
