"""What a config (data only) says: its names and numbers, checked, and the Plan of each arm.

A config has the sections `data`, `model`, `optimizer` and `plan`, each a flat dict whose `name` is
looked up in lbkeras, then in Keras, and `arms`: for each setting that a paper compares, the values
that differ, in the same sections. Nothing here imports TensorFlow.

The section `callbacks`, which need not be there, holds what steers and measures while it trains:
the names of callbacks of lbkeras, each with its arguments. What only a run knows (`pipeline`,
`validation`, `plan`, `seed`, `file`) they get from the run.

An optimizer with `num_nodes` trains decentralized: the model is that many stacked nodes, and
`optimizer.topology` says who averages with whom. With `data.label_concentration` each node owns a
part of the data with labels of its own (the smaller, the more its own); with 0 or without it the
nodes take their rows of the same shuffled batches.
"""

import importlib
import inspect
import math
from typing import Any

from lbkeras import checks
from lbkeras.errors import UserError, unknown_name
from lbkeras.files import is_file_name
from lbkeras.keras_internals.names import argument_names, public_names
from lbkeras.planning.plan import Plan, check_without_momentum
from lbkeras.planning.replicas import check_replicas

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
    "label_concentration",
)
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
    "steps_per_execution": (int, 0, 1_000_000),
}


def check_config(config) -> None:
    """Checks what a config says outside of its sections, and that its sections are there.

    Raises:
        UserError: an unknown or missing key, a value of another type or out of its range.
    """
    known = (*SECTIONS, CALLBACKS, "arms", "linear_interpolation", *_RANGES)
    for key in config:
        if key not in known:
            raise UserError(unknown_name("config", key, known))
    for key in (*SECTIONS, CALLBACKS, "arms", "linear_interpolation"):
        if key in config or key not in (CALLBACKS, "linear_interpolation"):
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


def arm_names(config) -> list[str]:
    """The names of a config's arms, in its order."""
    return list(config.arms)


def arm_settings(config, arm: str | None = None) -> dict[str, dict[str, Any]]:
    """The settings of one arm as plain dicts, a section each: the config's, then the arm's own.

    A section that gives a `name` stands for the config's whole section: another optimizer does not
    inherit this one's arguments.

    Args:
        config: an `ml_collections.ConfigDict`.
        arm: its name; None: the first.

    Raises:
        UserError: no such arm, an arm that sets a section which does not exist, or an optimizer
            with a learning rate or momentum, which the plan sets.
    """
    names = arm_names(config)
    arm = names[0] if arm is None else arm
    if arm not in names:
        raise UserError(unknown_name("arm", arm, names))
    sections = [*SECTIONS, CALLBACKS] if CALLBACKS in config else SECTIONS
    settings = {section: config[section].to_dict() for section in sections}
    for section, values in config.arms[arm].to_dict().items():
        if section == "description":
            continue
        if section not in (*SECTIONS, CALLBACKS):
            raise UserError(unknown_name(f"arms.{arm}", section, (*SECTIONS, CALLBACKS)))
        if section == CALLBACKS:
            chosen = settings.setdefault(CALLBACKS, {})
            for name, arguments in values.items():
                chosen[name] = chosen.get(name, {}) | arguments
        elif "name" in values:
            settings[section] = values
        else:
            settings[section] |= values
    for key in ("learning_rate", "momentum"):
        if key in settings["optimizer"]:
            raise UserError(
                f"optimizer.{key}: expected none, as the plan sets it (plan.{key}), received "
                f"{settings['optimizer'][key]!r}"
            )
    return settings


def seeds(config, number: int | None = None) -> list[int]:
    """The seeds that a replication runs: `number` of them, else the config's, from its first on.

    A config that chooses a setting has another first seed than the one that reports with it.

    Args:
        config: an `ml_collections.ConfigDict`.
        number: how many; None: `config.seeds`.

    Raises:
        UserError: the last one is above 2^32 − 1.
    """
    number = config.seeds if number is None else number
    first = config.get("first_seed", 0)
    if first + number - 1 > MOST_SEED:
        raise UserError(
            f"config.first_seed: expected {number} seeds up to {MOST_SEED}, received {first}"
        )
    return list(range(first, first + number))


def is_replaced_in_every_arm(config, key: str) -> bool:
    """Whether each arm sets `SECTION.KEY` itself, so that the config's own value has no effect."""
    section, _, name = key.partition(".")
    arms = [arm.get(section, {}) for arm in config.arms.values()]
    return bool(name) and all("name" in arm or name in arm for arm in arms)


def make_plans(config) -> dict[str, Plan]:
    """The Plan of each arm.

    Raises:
        UserError: as `make_plan`; the message begins with the arm.
    """
    plans = {}
    for arm in arm_names(config):
        try:
            plans[arm] = make_plan(arm_settings(config, arm))
        except UserError as error:
            raise UserError(f"arm {arm}: {error}") from None
    return plans


def make_plan(settings: dict) -> Plan:
    """The Plan of an arm: the function `plan.name` of `lbkeras.planning` with the rest of `plan`.

    Raises:
        UserError: no such function, model or optimizer (by name, without importing any), a key that
            it does not take or that is missing, a value it refuses, a momentum for an optimizer
            that has none, or a batch size that the nodes do not divide.
    """
    _check_settings(settings)
    planning = importlib.import_module("lbkeras.planning")
    functions = {
        name: getattr(planning, name) for name in planning.__all__ if name.endswith("_plan")
    }
    name, arguments = name_and_arguments("plan", settings["plan"])
    if name not in functions:
        raise UserError(unknown_name("plan.name", name, functions))
    arguments["num_examples"] = settings["data"]["num_examples"]
    check_arguments("plan", functions[name], arguments)
    try:
        plan = functions[name](**arguments)
    except UserError as error:  # names the argument
        raise error.of("data" if error.key == "num_examples" else "plan") from None
    _check_momentum(settings, plan)
    nodes = num_nodes(settings)
    if nodes:
        check_replicas(plan, nodes, "nodes")
    return plan


def _check_settings(settings: dict) -> None:
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
        if key not in data and key != "label_concentration":
            raise UserError(f"data.{key}: expected a value, received none")
    for key in ("name", "train_split", "test_split"):
        if not isinstance(data[key], str):
            raise UserError(f"data.{key}: expected text, received {data[key]!r}")
    checks.integer("data.test_batch_size", data["test_batch_size"], minimum=1)
    checks.not_negative("data.label_concentration", data.get("label_concentration", 0.0))
    if data["augmentation"] not in ("default", "none"):
        valid = ("default", "none")
        raise UserError(unknown_name("data.augmentation", data["augmentation"], valid))
    names = [name for name in _names("lbkeras.callbacks") if name not in _OF_EVERY_RUN]
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


def _check_momentum(settings: dict, plan: Plan) -> None:
    name = settings["optimizer"]["name"]
    for module in NAMED["optimizer"]:
        if arguments := argument_names(module, name):
            if "momentum" not in arguments:
                try:
                    check_without_momentum(plan, name)
                except UserError as error:
                    raise error.of("plan") from None
            return


def num_nodes(settings: dict) -> int | None:
    """How many nodes an arm trains decentralized with; None: it does not.

    Raises:
        UserError: `optimizer.num_nodes` is no whole number of at least 1.
    """
    nodes = settings["optimizer"].get("num_nodes")
    if nodes is not None and (not isinstance(nodes, int) or nodes < 1):
        raise UserError(f"optimizer.num_nodes: expected at least 1, received {nodes!r}")
    return nodes


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
