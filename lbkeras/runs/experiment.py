"""From a config (data only) to objects: the one place that turns names into objects.

A config has the sections `data`, `model`, `optimizer` and `plan`, each a flat dict whose `name` is
looked up in lbkeras, then in Keras, and `arms`: for each setting that a paper compares, the values
that differ, in the same sections. Nothing here imports TensorFlow until something needs it.

The section `callbacks`, which need not be there, holds what steers and measures while it trains:
the names of callbacks of lbkeras, each with its arguments. What only a run knows (`pipeline`,
`validation`, `plan`, `seed`, `file`) they get from the run.

An optimizer with `num_nodes` trains decentralized: the model is that many stacked nodes, and
`optimizer.topology` says who averages with whom. With `data.label_concentration` each node owns a
part of the data with labels of its own (the smaller, the more its own); with 0 or without it the
nodes take their rows of the same shuffled batches.
"""

import contextlib
import importlib
import inspect
import math
import re
from typing import Any

from lbkeras import checks
from lbkeras.errors import UserError, unknown_name
from lbkeras.files import is_file_name
from lbkeras.keras_internals.names import argument_names, public_names
from lbkeras.planning.plan import Plan, check_without_momentum
from lbkeras.planning.replicas import check_replicas

SECTIONS = ("data", "model", "optimizer", "plan")
_OPTIONAL = "callbacks"

# Where the names of a section are looked up.
_NAMED = {
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
_PLAIN = bool | int | float | str | tuple | None

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
    known = (*SECTIONS, _OPTIONAL, "arms", "linear_interpolation", *_RANGES)
    for key in config:
        if key not in known:
            raise UserError(unknown_name("config", key, known))
    for key in (*SECTIONS, _OPTIONAL, "arms", "linear_interpolation"):
        if key in config or key not in (_OPTIONAL, "linear_interpolation"):
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
    sections = [*SECTIONS, _OPTIONAL] if _OPTIONAL in config else SECTIONS
    settings = {section: config[section].to_dict() for section in sections}
    for section, values in config.arms[arm].to_dict().items():
        if section == "description":
            continue
        if section not in (*SECTIONS, _OPTIONAL):
            raise UserError(unknown_name(f"arms.{arm}", section, (*SECTIONS, _OPTIONAL)))
        if section == _OPTIONAL:
            chosen = settings.setdefault(_OPTIONAL, {})
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
    name, arguments = _name_and_arguments("plan", settings["plan"])
    if name not in functions:
        raise UserError(unknown_name("plan.name", name, functions))
    arguments["num_examples"] = settings["data"]["num_examples"]
    _check_arguments("plan", functions[name], arguments)
    try:
        plan = functions[name](**arguments)
    except UserError as error:  # names the argument
        section = "data" if str(error).startswith("num_examples:") else "plan"
        raise UserError(f"{section}.{error}") from None
    _check_momentum(settings, plan)
    nodes = num_nodes(settings)
    if nodes:
        try:
            check_replicas(plan, nodes)
        except UserError as error:
            raise UserError(str(error).replace("replicas", "nodes")) from None
    return plan


def _check_settings(settings: dict) -> None:
    """Names and numbers of an arm, as far as they can be checked without importing TensorFlow."""
    for section, modules in _NAMED.items():
        name, arguments = _name_and_arguments(section, settings[section])
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
    for name, arguments in settings.get(_OPTIONAL, {}).items():
        if name in _OF_EVERY_RUN:
            raise UserError(
                f"{_OPTIONAL}.{name}: expected a callback that not every run has, received one "
                "that it has"
            )
        if names and name not in names:
            raise UserError(unknown_name(_OPTIONAL, name, names))
        _check_section(f"{_OPTIONAL}.{name}", arguments)


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
    for module in _NAMED["optimizer"]:
        if arguments := argument_names(module, name):
            if "momentum" not in arguments:
                try:
                    check_without_momentum(plan, name)
                except UserError as error:
                    raise UserError(f"plan.{error}") from None
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


def make_pipelines(settings: dict, batch_size: int, seed: int, data_dir: str | None):
    """The training and the test Pipeline of an arm.

    Raises:
        UserError: as `lbkeras.data.load`; or the split has another size than `data.num_examples`,
            with which the plan is made.
    """
    from lbkeras.data.load import load
    from lbkeras.methods.decentralized.partition import partition

    chosen = settings["data"]
    common = dict(data_dir=data_dir, seed=seed)
    train = load(
        chosen["name"],
        chosen["train_split"],
        batch_size=1,
        training=True,
        augmentation=chosen["augmentation"],
        **common,
    )
    nodes, concentration = num_nodes(settings), chosen.get("label_concentration", 0.0)
    divided = ""
    if nodes and concentration:
        train.give_to_nodes(partition(train.labels(), nodes, concentration, seed))
        divided = f" in {nodes} equal parts"
    if train.num_examples != chosen["num_examples"]:
        raise UserError(
            f"data.num_examples: expected {train.num_examples} (what {chosen['name']} "
            f"{chosen['train_split']!r} holds{divided}), received {chosen['num_examples']}"
        )
    train.batch_size = batch_size
    test = load(chosen["name"], chosen["test_split"], batch_size=1, training=False, **common)
    test.batch_size = min(chosen["test_batch_size"], test.num_examples)
    return train, test


@contextlib.contextmanager
def reading_data(settings: dict):
    """Turns what TensorFlow says of data that it cannot read into the user's error.

    Raises:
        UserError: a stream is damaged; the data set is named.
    """
    try:
        yield
    except Exception as error:
        from lbkeras.data.reading import error_of_data

        found = error_of_data(settings["data"]["name"], error)
        if found is None:
            raise
        raise found from error


def make_model(settings: dict, train):
    """The uncompiled model of an arm, its input shape taken from the data.

    `model.ghost_batch_size` goes with any model: a function that takes no such argument builds its
    model as ever, and the batch normalisations are then replaced by ghost ones of that size. None
    or 0: nothing is replaced.

    Raises:
        UserError: no such model, an argument that it does not take, labels beyond its outputs, or a
            ghost batch size for a model without batch normalisation.
    """
    name, arguments = _name_and_arguments("model", settings["model"])
    build = _find("model.name", name, *_NAMED["model"])
    image, label = train.element_spec[:2]
    arguments["input_shape"] = tuple(image.shape[1:])
    ghost_batch_size = None
    if "ghost_batch_size" not in inspect.signature(build).parameters:
        ghost_batch_size = arguments.pop("ghost_batch_size", None)
    _check_arguments("model", build, arguments)
    model = _build("model", build, arguments)
    if ghost_batch_size:
        model = _with_ghosts(model, ghost_batch_size)
    labels = train.label_range()
    outputs = model.output_shape[-1]
    if labels is not None and labels[1] >= outputs:
        raise UserError(
            f"model.num_classes: expected at least {labels[1] + 1} (the labels of "
            f"{settings['data']['name']} go up to {labels[1]}), received {outputs}"
        )
    nodes = num_nodes(settings)
    return _with_nodes(model, nodes) if nodes else model


def make_optimizer(settings: dict, plan: Plan, steered: bool = False):
    """The optimizer of an arm with the plan's learning rates, and its momentum if it has one.

    Args:
        settings: the arm's sections.
        plan: its Plan.
        steered: a callback sets the learning rate; the optimizer gets the plan's first as a number.

    Raises:
        UserError: no such optimizer, or an argument that it does not take.
    """
    name, arguments = _name_and_arguments("optimizer", settings["optimizer"])
    build = _find("optimizer.name", name, *_NAMED["optimizer"])
    if "mixing" in inspect.signature(build).parameters:
        arguments["mixing"] = _mixing(arguments)
    if "momentum" in inspect.signature(build).parameters:
        arguments["momentum"] = plan.phases[0].momentum
    _check_arguments("optimizer", build, arguments)
    arguments["learning_rate"] = (
        plan.phases[0].learning_rate if steered else plan.learning_rate_schedule()
    )
    return _build("optimizer", build, arguments)


def make_callbacks(settings: dict, folder, **known) -> list:
    """The callbacks that an arm asks for.

    Args:
        settings: the arm's sections.
        folder: the run's folder; a callback with an argument `file` gets `CLASS_NAME.json` in it.
        **known: what else a callback may take from the run: `pipeline`, `validation`, `plan`,
            `seed`.

    Raises:
        UserError: no such callback, an argument that it does not take or that it refuses.
    """
    made = []
    for name, arguments in settings.get(_OPTIONAL, {}).items():
        where = f"{_OPTIONAL}.{name}"
        build = _find(_OPTIONAL, name, "lbkeras.callbacks")
        parameters = inspect.signature(build).parameters
        file_name = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()
        known["file"] = folder / f"{file_name}.json"
        from_run = {key: value for key, value in known.items() if key in parameters}
        _check_arguments(where, build, from_run | arguments)
        try:
            made.append(build(**from_run | arguments))
        except UserError as error:  # names the argument
            raise UserError(f"{where}.{error}") from None
    return made


def _mixing(arguments: dict):
    """The mixing matrix, from the arguments `num_nodes` and `topology`, which it takes away."""
    from lbkeras.methods.decentralized import mixing

    for key in ("num_nodes", "topology"):
        if key not in arguments:
            raise UserError(f"optimizer.{key}: expected a value, received none")
    try:
        return mixing.mixing_matrix(arguments.pop("topology"), arguments.pop("num_nodes"))
    except UserError as error:  # names the argument
        raise UserError(f"optimizer.{error}") from None


def _with_nodes(model, nodes: int):
    import tensorflow as tf

    from lbkeras.methods.decentralized.stacked_nodes import StackedNodes

    replicas = tf.distribute.get_strategy().num_replicas_in_sync
    if replicas > 1:  # a checkpoint holds one replica's weights, so a run could not be resumed
        raise UserError(
            f"strategy: expected one device for optimizer.num_nodes={nodes}, whose nodes are "
            f"stacked, received {replicas} replicas"
        )
    return StackedNodes(model, nodes)


def _with_ghosts(model, ghost_batch_size):
    from lbkeras.methods.batch_statistics.replace_batch_normalization import (
        with_ghost_batch_normalization,
    )

    try:
        return with_ghost_batch_normalization(model, ghost_batch_size)
    except UserError as error:  # names the argument, which may be the model
        message = str(error)
        prefix = "" if message.startswith("model:") else "model."
        raise UserError(f"{prefix}{message}") from None


def _name_and_arguments(section: str, settings: dict) -> tuple[str, dict]:
    arguments = dict(settings)
    name = arguments.pop("name", None)
    if not isinstance(name, str):
        raise UserError(f"{section}.name: expected a name, received {name!r}")
    return name, arguments


def _find(key: str, name: str, *modules: str):
    """The object of that name in the first of the modules that exports it."""
    valid = []
    for module in map(importlib.import_module, modules):
        names = getattr(module, "__all__", None) or [n for n in dir(module) if n[0].isalpha()]
        names = [n for n in names if callable(getattr(module, n))]
        if name in names:
            return getattr(module, name)
        valid += names
    raise UserError(unknown_name(key, name, valid))


def _build(section: str, function, arguments: dict):
    """Calls a model's or optimizer's function; a value that it refuses is the user's to mend."""
    try:
        return function(**arguments)
    except (TypeError, ValueError) as error:
        given = ", ".join(f"{k}={v!r}" for k, v in arguments.items() if isinstance(v, _PLAIN))
        raise UserError(
            f"{section}: expected arguments that {function.__name__} takes, received {given} "
            f"({error})"
        ) from error


def _check_arguments(section: str, function, arguments: dict) -> None:
    parameters = inspect.signature(function).parameters
    if any(p.kind is p.VAR_KEYWORD for p in parameters.values()):
        return
    for key in arguments:
        if key not in parameters:
            raise UserError(unknown_name(section, key, parameters))
    for key, parameter in parameters.items():
        if parameter.default is parameter.empty and key not in arguments:
            raise UserError(f"{section}.{key}: expected a value, received none")
