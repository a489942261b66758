"""From an arm's settings to objects: data, model, optimizer, callbacks."""

import contextlib
import importlib
import inspect
import re

from lbkeras.errors import UserError, unknown_name
from lbkeras.planning.plan import Plan
from lbkeras.runs import train_section
from lbkeras.runs.config_checks import CALLBACKS, NAMED, check_arguments, name_and_arguments
from lbkeras.runs.experiment import num_nodes

_PLAIN = bool | int | float | str | tuple | None


def make_pipelines(settings: dict, batch_size: int, seed: int, data_dir: str | None):
    """The training and the test Pipeline of an arm.

    Raises:
        UserError: as `lbkeras.data.load`; or the split has another size than `data.num_examples`,
            with which the plan is made.
    """
    from lbkeras.data.load import load
    from lbkeras.methods.decentralized.node_shards import shard_by_label

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
    nodes, concentration = num_nodes(settings), chosen.get("dirichlet_alpha", 0.0)
    divided = ""
    if nodes and concentration:
        train.set_node_shards(shard_by_label(train.labels(), nodes, concentration, seed))
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
    name, arguments = name_and_arguments("model", settings["model"])
    build = _find("model.name", name, *NAMED["model"])
    image, label = train.element_spec[:2]
    arguments["input_shape"] = tuple(image.shape[1:])
    ghost_batch_size = None
    if "ghost_batch_size" not in inspect.signature(build).parameters:
        ghost_batch_size = arguments.pop("ghost_batch_size", None)
    check_arguments("model", build, arguments)
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
    name, arguments = name_and_arguments("optimizer", settings["optimizer"])
    build = _find("optimizer.name", name, *NAMED["optimizer"])
    if "mixing" in inspect.signature(build).parameters:
        arguments["mixing"] = _mixing(arguments)
    if "momentum" in inspect.signature(build).parameters:
        arguments["momentum"] = plan.phases[0].momentum
    check_arguments("optimizer", build, arguments)
    arguments["learning_rate"] = (
        plan.phases[0].learning_rate if steered else plan.learning_rate_schedule()
    )
    optimizer = _build("optimizer", build, arguments)
    train_section.prepare_optimizer(optimizer, settings)
    return optimizer


def compiled_model(settings: dict, plan: Plan, strategy, train, *, steered: bool = False):
    """The compiled model of an arm, made under a strategy.

    Args:
        settings: the arm's sections.
        plan: its Plan.
        strategy: of tf.distribute.
        train: its training Pipeline.
        steered: as for `make_optimizer`.

    Raises:
        UserError: as `make_model` and `make_optimizer`; replicas that XLA cannot compile.
    """
    from lbkeras.keras_internals.trainer_patches import check_compilation
    from lbkeras.runs.steps_per_execution import choose_steps_per_execution

    chosen = train_section.values_of(settings)
    try:
        check_compilation(strategy, chosen["jit_compile"])
    except UserError as error:
        raise error.of(train_section.TRAIN) from None
    with strategy.scope():
        model = make_model(settings, train)
        compile_model(
            model,
            optimizer=make_optimizer(settings, plan, steered),
            jit_compile=chosen["jit_compile"],
            steps_per_execution=chosen["steps_per_execution"]
            or choose_steps_per_execution(model, plan),
        )
    return model


def compile_model(model, **more) -> None:
    """Compiles a model of ours: its outputs are logits of classes that are numbers."""
    import keras

    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(loss=loss, metrics=["accuracy"], **more)


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
    for name, arguments in settings.get(CALLBACKS, {}).items():
        where = f"{CALLBACKS}.{name}"
        build = _find(CALLBACKS, name, "lbkeras.callbacks")
        parameters = inspect.signature(build).parameters
        file_name = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()
        known["file"] = folder / f"{file_name}.json"
        from_run = {key: value for key, value in known.items() if key in parameters}
        check_arguments(where, build, from_run | arguments)
        try:
            made.append(build(**from_run | arguments))
        except UserError as error:  # names the argument
            raise error.of(where) from None
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
        raise error.of("optimizer") from None


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
        raise (error if error.key == "model" else error.of("model")) from None


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
