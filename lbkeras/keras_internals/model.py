"""Private parts of a Keras model and its trainer."""

import contextlib
import functools

import keras

from lbkeras.keras_internals.names import private


def layers(layer, include_self: bool = True) -> list:
    """Returns a layer or model and all layers inside it, at any depth, each once.

    Args:
        layer: a `keras.Layer` or `keras.Model`.
        include_self: whether the list begins with `layer` itself.
    """
    return private(layer, "_flatten_layers")(include_self=include_self)


def is_built(model) -> bool:
    """Whether model, loss, metrics and optimizer are all built.

    Args:
        model: a compiled `keras.Model`.
    """
    if not all(layer.built for layer in layers(model)):
        return False
    parts = private(model, "_compile_metrics"), private(model, "_compile_loss"), model.optimizer
    return all(part is None or part.built for part in parts)


def build(model, batch) -> None:
    """Builds what `fit` would build from its first batch: layers, loss, metrics, optimizer.

    Args:
        model: a compiled `keras.Model`.
        batch: `x`, `(x, y)` or `(x, y, sample_weight)`; only shapes and types matter.
    """
    private(model, "_symbolic_build")(data_batch=batch)


def sync_variables(model) -> None:
    """Gives a model's variables their current values inside an epoch.

    From the first step of an epoch to its end, Keras' JAX trainer holds the values itself and the
    variables have none. Does not wait for the device.

    Args:
        model: a `keras.Model` on any backend.
    """
    sync = getattr(model, "jax_state_sync", None)
    if sync is not None:
        sync()


def compile_arguments(model) -> dict:
    """Returns the arguments that `model.compile` was called with, by name."""
    return dict(private(model, "_compile_config").config)


def better_direction(model, name: str) -> str | None:
    """Returns a metric's better direction, "higher" or "lower"; None: the metric does not say it.

    Args:
        model: compiled, with built metrics.
        name: the metric's name, after the output's name if the model has several outputs.
    """
    for metric in _flat_metrics(model):
        if name == metric.name or name.endswith(f"_{metric.name}"):
            return {"up": "higher", "down": "lower"}.get(direction_of(metric))
    return None


def direction_of(metric) -> str | None:
    """Returns the better direction that a metric declares, "up" or "down", or None."""
    return getattr(metric, "_direction", None)


def _flat_metrics(model) -> list:
    found = []
    for metric in model.metrics:
        found += getattr(metric, "metrics", [metric])
    return found


def call_for_training(model, x):
    """Returns the model's output in training mode, whether or not its `call` takes `training`."""
    if private(model, "_call_has_training_arg"):
        return model(x, training=True)
    return model(x)


def output_spec(model, x):
    """Returns the model's outputs for a batch as KerasTensors; computes only shapes and types."""
    specs = keras.tree.map_structure(lambda part: keras.KerasTensor(part.shape, part.dtype), x)
    return keras.Model.compute_output_spec(model, specs)


def compute_loss(model, x, y, y_pred, sample_weight, training: bool = True):
    """Calls `model.compute_loss`, whether or not it takes `training`."""
    return private(model, "_compute_loss")(x, y, y_pred, sample_weight, training=training)


def additional_loss(model, loss):
    """Returns a loss of a regularizer or `add_loss`, divided by the number of replicas.

    Args:
        model: a `keras.Model`.
        loss: a tensor, usually a scalar.
    """
    return private(model, "_aggregate_additional_loss")(loss)


@functools.cache
def activity_losses_are_sums() -> bool:
    """Whether activity regularizers add sums over the batch.

    They do before Keras 3.14; since then they add means. Call this outside of a graph.
    """
    layer = keras.layers.ActivityRegularization(l1=1.0)
    layer(keras.ops.ones((2, 1)))
    return float(layer.losses[0]) == 2.0


@contextlib.contextmanager
def activity_losses_scaled(model, factor: float):
    """Multiplies the losses of activity regularizers in this context.

    Args:
        model: a `keras.Model`; its own regularizers are restored afterwards.
        factor: the factor; 1 changes nothing.
    """
    regularized = [
        (layer, layer.activity_regularizer)
        for layer in layers(model)
        if getattr(layer, "activity_regularizer", None) is not None
    ]
    try:
        for layer, regularizer in regularized if factor != 1 else ():
            layer.activity_regularizer = _scaled(regularizer, factor)
        yield
    finally:
        for layer, regularizer in regularized:
            layer.activity_regularizer = regularizer


def _scaled(regularizer, factor: float):
    return lambda output: factor * regularizer(output)


@contextlib.contextmanager
def float_inputs(model):
    """Makes a functional model with uint8 inputs accept any numbers in this context.

    Keras casts the inputs of a functional model to their declared dtype; casting to uint8 rounds
    and has no gradient. Contexts of several replicas, whose threads take turns, may overlap.

    Args:
        model: a `keras.Model`; the inputs of models inside it are changed too.
    """
    found = layers(model)
    inputs = [layer for layer in found if isinstance(layer, keras.layers.InputLayer)]
    for layer in found:  # a Sequential casts to the layer's dtype, other models to the tensor's
        if isinstance(layer, keras.Model):
            inputs += getattr(layer, "inputs", None) or ()
    inputs = {id(each): each for each in inputs}
    for name, each in list(inputs.items()):
        if private(each, "_dtype") != "uint8" and name not in _contexts:
            del inputs[name]
    for name, each in inputs.items():
        _contexts[name] = _contexts.get(name, 0) + 1
        each._dtype = "float32"
    try:
        yield
    finally:
        for name, each in inputs.items():
            _contexts[name] -= 1
            if not _contexts[name]:
                del _contexts[name]
                each._dtype = "uint8"


_contexts: dict[int, int] = {}  # id of an input that is float32 now -> its number of contexts


def scope_of(model):
    """Returns the scope for creating the model's variables: its strategy's, on TensorFlow."""
    strategy = getattr(model, "distribute_strategy", None)
    return contextlib.nullcontext() if strategy is None else strategy.scope()


def loss_metric(model):
    """Returns the metric "loss", which a train step updates with each batch's loss."""
    return private(model, "_loss_tracker")


def train_function(model, train_step):
    """Makes a train function like `model.make_train_function`, from another train step.

    Args:
        model: a compiled `keras.Model`, on Keras' TensorFlow backend.
        train_step: function from a replica's batch to the logs.

    Returns:
        A function from an iterator to the logs of `model.steps_per_execution` steps, which can be
        assigned to `model.train_function`.
    """
    return private(model, "_make_function")(train_step)
