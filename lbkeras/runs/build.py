"""Builds an arm's data, model, optimizer and callbacks from its settings."""

import re

from lbkeras.config import LOSS as DEFAULT_LOSS
from lbkeras.config import is_own
from lbkeras.errors import UserError
from lbkeras.keras_internals.backend_start import backend_name, require_tensorflow
from lbkeras.metrics import OF_CLASS_NUMBERS
from lbkeras.planning.plan import Plan, check_without_momentum
from lbkeras.runs import train_section
from lbkeras.runs.components import call, find
from lbkeras.runs.config_checks import (
    CALLBACKS,
    LOSS,
    METRICS,
    check_arguments,
    name_and_arguments,
    parameters_of,
)
from lbkeras.runs.experiment import num_nodes
from lbkeras.runs.own_data import own_pipelines
from lbkeras.runs.trial import evaluate_a_few, fitting_together

_OF_LOAD = ("image_size", "resize", "shuffle", "shuffle_bytes")


def make_pipelines(
    settings: dict, batch_size: int, seed: int, data_dir: str | None, fake_data: bool = False
):
    """Makes the training and the test Pipeline of an arm.

    With `fake_data`, a named data set is replaced by random data (`lbkeras.data.made_data`), and
    there are only as many test examples as in one batch of an evaluation.

    Raises:
        UserError: as `lbkeras.data.load`; the user's own function cannot be called or returns
            something else; or the number of training examples differs from `data.num_examples`,
            from which the plan is made.
    """
    chosen = settings["data"]
    if is_own(chosen["name"]):
        train, test, source = own_pipelines(chosen, seed, data_dir)
    else:
        made = _made_sources(settings, data_dir) if fake_data else (None, None)
        train, test, source = _named_pipelines(chosen, seed, data_dir, *made)
    nodes, concentration = num_nodes(settings), chosen.get("dirichlet_alpha", 0.0)
    divided = ""
    if nodes and concentration:
        from lbkeras.methods.decentralized.node_shards import shard_by_label

        train.set_node_shards(shard_by_label(train.labels(), nodes, concentration, seed))
        divided = f" in {nodes} equal parts"
    if train.num_examples != chosen["num_examples"]:
        raise UserError(
            f"data.num_examples: expected {train.num_examples} (what {source}{divided}), received "
            f"{chosen['num_examples']}"
        )
    train.batch_size = batch_size
    test.batch_size = min(chosen["test_batch_size"], test.num_examples)
    return train, test


def _made_sources(settings: dict, data_dir: str | None):
    """Makes random training and test data; none for digits, which needs no files."""
    from lbkeras.data.made_data import made_data

    chosen = settings["data"]
    if chosen["name"] == "digits":
        return None, None
    numbers = chosen["num_examples"], chosen["test_batch_size"]
    vocabulary = settings["model"].get("vocabulary_size", 65)
    return [made_data(chosen["name"], number, data_dir, vocabulary) for number in numbers]


def _named_pipelines(chosen: dict, seed: int, data_dir: str | None, train=None, test=None):
    from lbkeras.data.load import load

    common = dict(batch_size=1, data_dir=data_dir, seed=seed)
    common |= {key: chosen[key] for key in _OF_LOAD if chosen.get(key) is not None}
    try:
        train = load(
            chosen["name"],
            chosen["train_split"],
            training=True,
            augmentation=chosen["augmentation"],
            source=train,
            **common,
        )
        test = load(chosen["name"], chosen["test_split"], training=False, source=test, **common)
    except UserError as error:
        raise (error.of("data") if error.key in _OF_LOAD else error) from None
    return train, test, f"{chosen['name']} {chosen['train_split']!r} holds"


def make_model(settings: dict, train):
    """Makes and builds the uncompiled model of an arm; the data determine its input shape.

    `model.ghost_batch_size` works with any model: if the function does not take this argument, the
    batch normalization layers of its model are replaced by ghost batch normalization of that size.
    With None or 0 nothing is replaced. The user's own function gets `input_shape` if it takes it:
    the shape of an example's x, or a dict of shapes if x is a dict.

    Raises:
        UserError: there is no such model, it does not take an argument, the function does not
            return an uncompiled model, labels exceed the outputs, or there is a ghost batch size
            for a model without batch normalization.
    """
    name, arguments = name_and_arguments("model", settings["model"])
    build = find("model.name", "model", name)
    parameters = parameters_of(build)
    if "input_shape" in parameters or not is_own(name):
        arguments["input_shape"] = _shape_of(_x_of(train.element_spec))
    ghost_batch_size = None
    if "ghost_batch_size" not in parameters:
        ghost_batch_size = arguments.pop("ghost_batch_size", None)
    check_arguments("model", build, arguments)
    model = call("model", name, build, arguments)
    _check_model(model, name)
    output_shape = _built(model, train)
    if ghost_batch_size:
        model = _with_ghosts(model, ghost_batch_size)
    _check_labels(settings, train, output_shape)
    nodes = num_nodes(settings)
    return _with_nodes(model, nodes) if nodes else model


def _x_of(example):
    return example[0] if isinstance(example, tuple) else example


def _shape_of(x):
    if isinstance(x, dict):
        return {key: _shape_of(each) for key, each in x.items()}
    if isinstance(x, tuple | list):
        return type(x)(_shape_of(each) for each in x)
    return tuple(x.shape[1:])


def _check_model(model, name: str) -> None:
    import keras

    if not isinstance(model, keras.Model):
        raise UserError(
            f"model.name: expected a function that returns a keras.Model, received {name!r}, which "
            f"returns a {type(model).__name__}"
        )
    if model.compiled:
        raise UserError(
            "model.name: expected a function that returns a model which is not compiled, as the "
            f"config sets loss, metrics and optimizer, received {name!r}, which compiles it"
        )


def _built(model, train):
    """Builds the model if it is not built yet, and returns its output shape."""
    import keras

    if model.built and hasattr(model, "output_shape"):
        return model.output_shape
    x = _x_of(next(iter(train.dataset())))
    outputs = model(keras.tree.map_structure(lambda tensor: tensor[:1], x))
    return keras.tree.map_structure(lambda tensor: tuple(tensor.shape), outputs)


def _check_labels(settings: dict, train, output_shape) -> None:
    """Refuses integer class labels that are not below the number of the model's outputs."""
    name, labels = settings.get(LOSS, DEFAULT_LOSS).get("name"), train.label_range()
    one_output = isinstance(output_shape, tuple) and isinstance(output_shape[-1], int)
    if name not in OF_CLASS_NUMBERS or labels is None or not one_output:
        return
    if labels[1] >= output_shape[-1]:
        raise UserError(
            f"model.num_classes: expected at least {labels[1] + 1} (the labels of "
            f"{settings['data']['name']} go up to {labels[1]}), received {output_shape[-1]}"
        )


def make_optimizer(settings: dict, plan: Plan, steered: bool = False):
    """Makes an arm's optimizer with the plan's learning rates, and its momentum if it has one.

    Args:
        settings: the arm's sections.
        plan: its Plan.
        steered: whether a callback sets the learning rate; the optimizer then gets the plan's first
            one as a number.

    Raises:
        UserError: there is no such optimizer, it does not take an argument, or the plan sets a
            momentum that it does not have.
    """
    import keras

    name, arguments = name_and_arguments("optimizer", settings["optimizer"])
    build = find("optimizer.name", "optimizer", name)
    parameters = parameters_of(build)
    if "mixing" in parameters:
        arguments["mixing"] = _mixing(arguments)
    if "momentum" in parameters:
        arguments["momentum"] = plan.phases[0].momentum
    else:
        try:
            check_without_momentum(plan, name)
        except UserError as error:
            raise error.of("plan") from None
    arguments["learning_rate"] = (
        plan.phases[0].learning_rate if steered else plan.learning_rate_schedule()
    )
    check_arguments("optimizer", build, arguments)
    optimizer = call("optimizer", name, build, arguments)
    if not isinstance(optimizer, keras.optimizers.Optimizer):
        raise UserError(
            f"optimizer.name: expected a Keras optimizer or a function that returns one, received "
            f"{name!r}, which returns a {type(optimizer).__name__}"
        )
    train_section.prepare_optimizer(optimizer, settings)
    return optimizer


def compiled_model(
    settings: dict, plan: Plan, strategy, train, *, steered: bool = False, model=None
):
    """Makes the compiled model of an arm under a strategy.

    Args:
        settings: the arm's sections.
        plan: its Plan.
        strategy: from `lbkeras.distribution.strategy`.
        train: its training Pipeline.
        steered: as for `make_optimizer`.
        model: a model that `make_model` made from the same settings under the same strategy; None
            makes a new one and, if it has parts that lbkeras has not tried, evaluates it on a few
            examples.

    Raises:
        UserError: as `make_model`, `make_optimizer` and `compile_model`; or XLA cannot compile for
            these replicas.
    """
    from lbkeras.runs.steps_per_execution import choose_steps_per_execution

    chosen = train_section.values_of(settings)
    if strategy.num_replicas_in_sync > 1 and backend_name() == "tensorflow":
        _check_compilation(strategy, chosen["jit_compile"])
    with strategy.scope():
        made = make_model(settings, train) if model is None else model
        compile_model(
            made,
            settings,
            optimizer=make_optimizer(settings, plan, steered),
            jit_compile=chosen["jit_compile"],
            steps_per_execution=chosen["steps_per_execution"]
            or choose_steps_per_execution(made, plan),
        )
    if model is None and _has_own_parts(settings):
        with fitting_together("model, loss, metrics", settings["data"]["name"]):
            evaluate_a_few(made, train, strategy.num_replicas_in_sync)
    return made


def _check_compilation(strategy, jit_compile) -> None:
    from lbkeras.keras_internals.trainer_patches import check_compilation

    try:
        check_compilation(strategy, jit_compile)
    except UserError as error:
        raise error.of(train_section.TRAIN) from None


def _has_own_parts(settings: dict) -> bool:
    """Whether an arm without nodes has its own model or data, or sets the loss or metrics."""
    own = any(is_own(settings[section]["name"]) for section in ("model", "data"))
    return (own or LOSS in settings or METRICS in settings) and not num_nodes(settings)


def compile_model(model, settings: dict, **more) -> None:
    """Compiles a model with an arm's loss and metrics.

    Raises:
        UserError: a loss or metric does not exist or does not take an argument.
    """
    from lbkeras.runs.loss_and_metrics import loss_and_metrics

    model.compile(**loss_and_metrics(settings), **more)


def make_callbacks(settings: dict, folder, **known) -> list:
    """Makes the callbacks that an arm names.

    Args:
        settings: the arm's sections.
        folder: the run's folder; a callback with an argument `file` gets `CLASS_NAME.json` in it.
        **known: what else a callback may take from the run: `pipeline`, `validation`, `plan`,
            `seed`.

    Raises:
        UserError: there is no such callback, or it does not take or refuses an argument.
    """
    import keras

    made = []
    for key, entry in settings.get(CALLBACKS, {}).items():
        where, arguments = f"{CALLBACKS}.{key}", dict(entry)
        name = arguments.pop("name", key)
        build = find(CALLBACKS if name == key else f"{where}.name", CALLBACKS, name)
        parameters = parameters_of(build)
        file_name = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", build.__name__).lower()
        known["file"] = folder / f"{file_name}.json"
        from_run = {key: value for key, value in known.items() if key in parameters}
        check_arguments(where, build, from_run | arguments)
        callback = call(where, name, build, from_run | arguments)
        if not isinstance(callback, keras.callbacks.Callback):
            raise UserError(f"{where}: expected a Keras callback, received {name!r}, which is a "
                            f"{type(callback).__name__}")  # fmt: skip
        made.append(callback)
    return made


def owners(settings: dict, attribute: str) -> list[str]:
    """Returns the callbacks of an arm whose class attribute, such as `owns_batch_size`, is true."""
    entries = settings.get(CALLBACKS, {}).items()
    return [
        key
        for key, entry in entries
        if getattr(find(CALLBACKS, CALLBACKS, entry.get("name", key)), attribute, False)
    ]


def _mixing(arguments: dict):
    """Makes the mixing matrix from the arguments `num_nodes` and `topology`, and removes them."""
    from lbkeras.methods.decentralized import mixing

    for key in ("num_nodes", "topology"):
        if key not in arguments:
            raise UserError(f"optimizer.{key}: expected a value, received none")
    try:
        return mixing.mixing_matrix(arguments.pop("topology"), arguments.pop("num_nodes"))
    except UserError as error:  # names the argument
        raise error.of("optimizer") from None


def _with_nodes(model, nodes: int):
    require_tensorflow("optimizer.num_nodes")
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
