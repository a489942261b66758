"""Names and numbers of a config, checked as far as that goes without importing TensorFlow."""

import inspect
import math

from lbkeras import checks
from lbkeras.errors import UserError, unknown_name
from lbkeras.files import is_file_name
from lbkeras.keras_internals.names import public_names
from lbkeras.runs import train_section

SECTIONS = ("data", "model", "optimizer", "plan")
CALLBACKS = "callbacks"
# Where the names of a section are looked up.
NAMED = {
    "model": ("lbkeras.models", "keras.applications"),
    "optimizer": ("lbkeras.optimizers", "keras.optimizers"),
}
# Keras' that are none to train with by themselves.
_NO_OPTIMIZERS = ("Optimizer", "LossScaleOptimizer", "MultiOptimizer")
# The keys of `data`, and the callbacks that `training` makes itself.
_DATA = (
    *("name", "num_examples", "train_split", "test_split", "test_batch_size", "augmentation"),
    "dirichlet_alpha",
)
_EXCEPTIONS = ("Diverged", "Interrupted")  # what lbkeras.callbacks has beside callbacks
_OF_EVERY_RUN = (
    *(
        "AverageStatistics",
        "BatchSizeScheduler",
        "Checkpoint",
        "ConsensusDistance",
        "HistoryWriter",
    ),
    *("MicroBatches", "ProgressBar", "StopOnNaN", "StopOnSignal", "TensorBoardScalars"),
    "TrainingStatistics",
)
# Type, least and most of the other keys. NumPy takes seeds below 2^32.
MOST_SEED = 2**32 - 1
_RANGES = {
    "seeds": (int, 1, 1_000_000),
    "first_seed": (int, 0, MOST_SEED),
    "checkpoint_minutes": (int | float, 0, 1_000_000),
    "steps_per_execution": (int, 0, 1_000_000),  # before 0.2.0; it is one of `train`
}


def check_config(config) -> None:
    """Checks what a config says outside of its sections, and that its sections are there.

    Raises:
        UserError: an unknown or missing key, a value of another type or out of its range.
    """
    optional = (CALLBACKS, train_section.TRAIN, "linear_interpolation")
    known = (*SECTIONS, *optional, "arms", *_RANGES)
    for key in config:
        if key not in known:
            train_section.check_place(key, "config")
            raise UserError(unknown_name("config", key, known))
    for key in (*SECTIONS, *optional, "arms"):
        if key in config or key not in optional:
            _check_section(f"config.{key}", config.get(key))
    if not config.arms:
        raise UserError("config.arms: expected at least one arm, received none")
    for arm, values in config.arms.items():
        _check_section(f"config.arms.{arm}", values)
        if not is_file_name(arm):
            raise UserError(f"config.arms: expected names of folders, received {arm!r}")
        for section, value in values.items():
            if section == "description" and not isinstance(value, str):
                raise UserError(f"config.arms.{arm}.description: expected text, received {value!r}")
            if section != "description":
                _check_section(f"config.arms.{arm}.{section}", value)
    for key, (kind, least, most) in _RANGES.items():
        value = config.get(key, least)
        number = isinstance(value, kind) and not isinstance(value, bool)
        if not number or not least <= value <= most:
            what = "a whole number" if kind is int else "a number"
            raise UserError(
                f"config.{key}: expected {what} from {least} to {most}, received {value!r}"
            )


def _check_section(place: str, value) -> None:
    if not hasattr(value, "items"):
        raise UserError(f"{place}: expected a section of keys and values, received {value!r}")


def check_settings(settings: dict) -> None:
    """Names and numbers of an arm, as far as they can be checked without importing TensorFlow."""
    for section, modules in NAMED.items():
        name, arguments = name_and_arguments(section, settings[section])
        names = [_names(module) for module in modules]
        if all(names) and not any(name in each for each in names):
            raise UserError(
                unknown_name(f"{section}.name", name, [n for each in names for n in each])
            )
        for key, value in arguments.items():
            _check_number(f"{section}.{key}", key, value)
    data = settings["data"]
    for key in data:
        if key not in _DATA:
            raise UserError(unknown_name("data", key, _DATA))
    for key in _DATA:
        if key not in data and key != "dirichlet_alpha":
            raise UserError(f"data.{key}: expected a value, received none")
    for key in ("name", "train_split", "test_split"):
        if not isinstance(data[key], str):
            raise UserError(f"data.{key}: expected text, received {data[key]!r}")
    checks.integer("data.test_batch_size", data["test_batch_size"], minimum=1)
    checks.not_negative("data.dirichlet_alpha", data.get("dirichlet_alpha", 0.0))
    if data["augmentation"] not in ("default", "none"):
        valid = ("default", "none")
        raise UserError(unknown_name("data.augmentation", data["augmentation"], valid))
    train_section.check(settings)
    names = [
        name for name in _names("lbkeras.callbacks") if name not in (*_OF_EVERY_RUN, *_EXCEPTIONS)
    ]
    for name, arguments in settings.get(CALLBACKS, {}).items():
        if name in _OF_EVERY_RUN:
            raise UserError(
                f"{CALLBACKS}.{name}: expected a callback that not every run has, received one "
                "that it has"
            )
        if names and name not in names:
            raise UserError(unknown_name(CALLBACKS, name, names))
        _check_section(f"{CALLBACKS}.{name}", arguments)


def _names(module: str) -> list[str]:
    """What a section may name of a module, read from its source; of Keras' the classes."""
    names = public_names(module)
    if module.startswith("keras."):
        names = [name for name in names if name[0].isupper() and name not in _NO_OPTIMIZERS]
    return list(names)


def _check_number(place: str, key: str, value) -> None:
    if isinstance(value, float) and not math.isfinite(value):
        raise UserError(f"{place}: expected a finite number, received {value!r}")
    if key == "weight_decay" and value is not None:
        checks.not_negative(place, value)


def name_and_arguments(section: str, settings: dict) -> tuple[str, dict]:
    arguments = dict(settings)
    name = arguments.pop("name", None)
    if not isinstance(name, str):
        raise UserError(f"{section}.name: expected a name, received {name!r}")
    return name, arguments


def check_arguments(section: str, function, arguments: dict) -> None:
    parameters = inspect.signature(function).parameters
    if any(p.kind is p.VAR_KEYWORD for p in parameters.values()):
        return
    for key in arguments:
        if key not in parameters:
            raise UserError(unknown_name(section, key, parameters))
    for key, parameter in parameters.items():
        if parameter.default is parameter.empty and key not in arguments:
            raise UserError(f"{section}.{key}: expected a value, received none")
