"""Checks a config's names and numbers as far as possible without importing TensorFlow."""

import inspect
import math

from lbkeras import checks, metrics
from lbkeras.config import is_own
from lbkeras.errors import UserError, unknown_name
from lbkeras.files import is_file_name
from lbkeras.runs import train_section
from lbkeras.runs.components import OF_EVERY_RUN, check_name

SECTIONS = ("data", "model", "loss", "metrics", "optimizer", "plan", train_section.TRAIN)
LOSS, METRICS, CALLBACKS = "loss", "metrics", "callbacks"
LISTS = (METRICS, CALLBACKS)  # sections of entries, each a component
TARGETS = "targets"
OPTIONAL = (CALLBACKS, train_section.TRAIN, TARGETS, "linear_interpolation")
# The keys of `data`, those among them that are optional, and those that are not passed to the
# user's own function.
OF_DATA = (
    *("name", "num_examples", "train_split", "test_split", "test_batch_size", "augmentation"),
    *("image_size", "resize", "shuffle", "shuffle_bytes", "dirichlet_alpha"),
)
_OPTIONAL_OF_DATA = ("image_size", "resize", "shuffle", "shuffle_bytes", "dirichlet_alpha")
OF_OWN_DATA = ("name", "num_examples", "test_batch_size", "augmentation", "dirichlet_alpha")
# Type, minimum and maximum of the other keys. NumPy takes seeds below 2^32.
MOST_SEED = 2**32 - 1
_RANGES = {
    "seeds": (int, 1, 1_000_000),
    "first_seed": (int, 0, MOST_SEED),
    "checkpoint_minutes": (int | float, 0, 1_000_000),
    "steps_per_execution": (int, 0, 1_000_000),  # before 0.2.0; now a key of `train`
}


def check_config(config) -> None:
    """Checks a config's values outside its sections, and that its sections exist.

    Raises:
        UserError: a key is unknown or missing, or a value has another type or is out of range.
    """
    known = (*SECTIONS, *OPTIONAL, "arms", "metric", *_RANGES)
    for key in config:
        if key not in known:
            train_section.check_place(key, "config")
            raise UserError(unknown_name("config", key, known))
    for key in (*SECTIONS, *OPTIONAL, "arms"):
        if key in config or key not in OPTIONAL:
            _check_section(f"config.{key}", config.get(key))
            _check_entries(f"config.{key}", key, config[key])
    for metric, value in (config.get(TARGETS) or {}).items():
        checks.number(f"config.{TARGETS}.{metric}", value, expected="a number")
    if not isinstance(config.get("metric") or "", str):
        raise UserError(f"config.metric: expected text, received {config.metric!r}")
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
                _check_entries(f"config.arms.{arm}.{section}", section, value)
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


def _check_entries(place: str, section: str, entries) -> None:
    for key, entry in entries.items() if section in LISTS else ():
        _check_section(f"{place}.{key}", entry)


def check_settings(settings: dict) -> None:
    """Checks an arm's names and numbers as far as possible without importing TensorFlow."""
    for section in ("model", "optimizer"):
        _check_component(section, section, settings[section])
    for place, entry in losses(settings).items():
        _check_component(place, LOSS, entry)
        checks.not_negative(f"{place}.weight", entry.get("weight", 1.0))
    if METRICS in settings:
        _check_metrics(settings)
    _check_data(settings["data"])
    train_section.check(settings)
    for key, entry in settings.get(CALLBACKS, {}).items():
        name = entry.get("name", key)
        if name in OF_EVERY_RUN:
            raise UserError(
                f"{CALLBACKS}.{name}: expected a callback that a run does not already have, "
                "received one that every run has"
            )
        check_name(f"{CALLBACKS}.{key}.name" if "name" in entry else CALLBACKS, CALLBACKS, name)


def losses(settings: dict) -> dict[str, dict]:
    """Returns the entry of each loss by its place in the config; {} for the default loss."""
    section = settings.get(LOSS, {})
    if "name" in section or not section:
        return {LOSS: section} if section else {}
    for output, entry in section.items():
        _check_section(f"{LOSS}.{output}", entry)
    return {f"{LOSS}.{output}": entry for output, entry in section.items()}


def _check_component(place: str, section: str, settings: dict) -> None:
    name, arguments = name_and_arguments(place, settings)
    check_name(f"{place}.name", section, name)
    for key, value in arguments.items():
        _check_number(f"{place}.{key}", key, value)


def _check_metrics(settings: dict) -> None:
    entries = settings[METRICS]
    if len(metrics.compiled(settings)) < len(entries):
        raise UserError(f"{METRICS}: expected names that differ in Keras' snake case too, received "
                        f"{', '.join(entries)}")  # fmt: skip
    with_output = [key for key, entry in entries.items() if "output" in entry]
    for key, entry in entries.items():
        place = f"{METRICS}.{key}"
        check_name(f"{place}.name" if "name" in entry else METRICS, METRICS, entry.get("name", key))
        if with_output and key not in with_output:
            raise UserError(
                f"{place}.output: expected the output that it measures, as {METRICS}."
                f"{with_output[0]} names one, received none"
            )
        for name, valid in (("output", None), ("better", (metrics.HIGHER, metrics.LOWER))):
            value = entry.get(name, metrics.HIGHER)
            if valid and value not in valid:
                raise UserError(unknown_name(f"{place}.{name}", value, valid))
            if not isinstance(value, str):
                raise UserError(f"{place}.{name}: expected text, received {value!r}")


def _check_data(data: dict) -> None:
    own = is_own(data.get("name"))
    if own:
        check_name("data.name", "data", data["name"])
    for key in data:
        if key not in OF_DATA and not own:
            raise UserError(unknown_name("data", key, OF_DATA))
    for key in OF_OWN_DATA if own else OF_DATA:
        if key not in data and key not in _OPTIONAL_OF_DATA:
            what = "a value"
            if key == "num_examples" and own:
                what = (
                    f"how many training examples {data['name']} returns (enter any number, and "
                    "`lbkeras train` names the right one)"
                )
            raise UserError(f"data.{key}: expected {what}, received none")
    for key in ("name",) if own else ("name", "train_split", "test_split"):
        if not isinstance(data[key], str):
            raise UserError(f"data.{key}: expected text, received {data[key]!r}")
    checks.integer("data.test_batch_size", data["test_batch_size"], minimum=1)
    checks.not_negative("data.dirichlet_alpha", data.get("dirichlet_alpha", 0.0))
    for key in () if own else ("image_size", "resize", "shuffle_bytes"):
        if data.get(key) is not None:
            checks.integer(f"data.{key}", data[key], minimum=1)
    if not own and data.get("shuffle") is not None:
        checks.choice("data.shuffle", data["shuffle"], ("default", "shards"))
    if own and is_own(data["augmentation"]):
        check_name("data.augmentation", "data", data["augmentation"])
        return
    valid = ("default", "none")
    if data["augmentation"] not in valid:
        valid = (*valid, "module:function") if own else valid
        raise UserError(unknown_name("data.augmentation", data["augmentation"], valid))


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


def parameters_of(function) -> dict:
    """Returns the parameters of a function or class by name; {} if it has no signature."""
    try:
        return dict(inspect.signature(function).parameters)
    except (TypeError, ValueError):
        return {}


def check_arguments(section: str, function, arguments: dict) -> None:
    """Refuses arguments that a function does not take, and missing ones that it needs."""
    parameters = parameters_of(function)
    for key, value in arguments.items():
        default = parameters[key].default if key in parameters else None
        if isinstance(value, str) and isinstance(default, bool | int | float):
            expected = "True or False" if isinstance(default, bool) else "a number"
            raise UserError(f"{section}.{key}: expected {expected}, received {value!r}")
    if any(p.kind is p.VAR_KEYWORD for p in parameters.values()):
        return
    for key in arguments:
        if not parameters:
            raise UserError(f"{section}: expected no key besides its name, received {key!r}")
        if key not in parameters:
            raise UserError(unknown_name(section, key, parameters))
    for key, parameter in parameters.items():
        optional = parameter.kind is parameter.VAR_POSITIONAL
        if parameter.default is parameter.empty and key not in arguments and not optional:
            raise UserError(f"{section}.{key}: expected a value, received none")
