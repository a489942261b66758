"""Fixes of Keras' trainer with several replicas.

They concern how a model is built, means over workers, several steps per call, and data that do not
know the strategy.
"""

import contextlib
import sys
import types

import keras
import tensorflow as tf

from lbkeras.errors import UserError
from lbkeras.keras_internals import model as model_internals
from lbkeras.keras_internals.names import defining_class, private


def trainer_class() -> type:
    """Returns the TensorFlow backend's trainer class, whose name differs between versions."""
    return defining_class(keras.Model, "_make_function")


def _trainer_module():
    return sys.modules[trainer_class().__module__]


# Before `fit` and `evaluate`, Keras takes one batch to build the model and reduces its parts over
# the replicas. That raises an error for several workers (keras#20585) and for parts of different
# sizes. Keras takes the batch even if the model is built, so in the validation of each epoch too;
# TensorFlow 2.21 can crash if an iterator over several devices is dropped after its first batch.


def build_reduces_a_batch() -> bool:
    class Value(tf.distribute.DistributedValues):
        def __init__(self):
            pass

    class Strategy:
        reduced = False

        def reduce(self, *arguments, **keywords):
            self.reduced = True

        def experimental_local_results(self, value):
            return (tf.constant([0.0]),)

        def scope(self):
            return contextlib.nullcontext()

    strategy = Strategy()
    model = types.SimpleNamespace(
        _distribute_strategy=strategy,
        distribute_strategy=strategy,
        _flatten_layers=lambda include_self: [types.SimpleNamespace(built=False)],
        _symbolic_build=lambda iterator=None, data_batch=None: None,
    )
    build = private(trainer_class(), "_maybe_symbolic_build")
    build(model, iterator=[(0, 0, iter([(Value(), Value())]))])
    return strategy.reduced


def build_from_a_local_part():
    build = private(trainer_class(), "_maybe_symbolic_build")

    def _maybe_symbolic_build(self, iterator=None, data_batch=None):
        if self._distribute_strategy is not None and iterator is not None:
            if model_internals.is_built(self):
                return None
            _, _, batches = next(iter(iterator))
            data_batch = tf.nest.map_structure(
                lambda part: _largest(self.distribute_strategy.experimental_local_results(part)),
                next(batches),
            )
            iterator = None
        return build(self, iterator=iterator, data_batch=data_batch)

    trainer_class()._maybe_symbolic_build = _maybe_symbolic_build


def _largest(parts):
    """Returns the largest part: a replica's part may be empty, and no model is built for that."""
    return max(parts, key=lambda part: part.shape[0] or 0 if hasattr(part, "shape") else 0)


# Keras takes the means of losses and metrics over several workers along axis 0, but they are
# scalars.


def means_need_an_axis() -> bool:
    strategy = object.__new__(_SeveralWorkers)
    reduce_per_replica = private(_trainer_module(), "reduce_per_replica")
    reduce_per_replica(tf.constant(0.0), strategy, reduction="mean")
    return strategy.axis is not None


class _SeveralWorkers(tf.distribute.MultiWorkerMirroredStrategy):
    """A fake strategy with what `reduce_per_replica` reads of it."""

    axis = None
    extended = types.SimpleNamespace(_in_multi_worker_mode=lambda: True)

    def reduce(self, reduce_op, value, axis=None):
        self.axis = axis
        return value


def take_means_without_axis():
    reduce_per_replica = private(_trainer_module(), "reduce_per_replica")

    def means_without_axis(values, strategy, reduction):
        several_workers = isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy)
        several_workers = several_workers and strategy.extended._in_multi_worker_mode()
        if several_workers and reduction in ("auto", "mean"):
            return tf.nest.map_structure(
                lambda value: strategy.reduce("MEAN", value, axis=None), values
            )
        return reduce_per_replica(values, strategy, reduction)

    _trainer_module().reduce_per_replica = means_without_axis


# With steps_per_execution > 1 each step runs in a `tf.cond`, where replicas cannot communicate.


def steps_stand_in_a_condition() -> bool:
    graphs = []

    class Model(trainer_class()):
        distribute_strategy = types.SimpleNamespace(
            num_replicas_in_sync=2, run=lambda function, args: function(*args)
        )

        def _autoconvert_optionals(self, one_step):
            def traced(data):
                graphs.append(type(tf.compat.v1.get_default_graph()).__name__)
                return one_step(data)

            return traced

    model = Model()
    model.steps_per_execution = 2
    function = model._make_function(lambda data: {"loss": tf.cast(data, tf.float32)})
    function(iter(tf.data.Dataset.range(2)))
    return any("Cond" in name for name in graphs)


def steps_in_a_plain_loop():
    make_function = private(trainer_class(), "_make_function")

    def _make_function(self, step_function):
        several = self.distribute_strategy.num_replicas_in_sync > 1
        check_compilation(self.distribute_strategy, self.jit_compile)
        if several and isinstance(self, keras.Layer) and model_internals.activity_losses_are_sums():
            _refuse_activity_regularizers(self)  # not for a probe, which is only a trainer
        if self.steps_per_execution == 1 or self.run_eagerly or not several:
            return make_function(self, step_function)
        return _function_of_several_steps(self, step_function)

    trainer_class()._make_function = _make_function


def _refuse_activity_regularizers(model):
    """Refuses activity regularizers: Keras would average each replica's sum over its part."""
    for layer in model_internals.layers(model):
        if getattr(layer, "activity_regularizer", None) is not None:
            raise UserError(
                "activity_regularizer: expected none on several replicas with Keras before 3.14, "
                f"received one in layer {layer.name!r}"
            )


def check_compilation(strategy, jit_compile) -> None:
    """Checks that XLA can compile a step of these replicas if `jit_compile` is True.

    Raises:
        UserError: it cannot.
    """
    several = strategy.num_replicas_in_sync > 1
    if several and jit_compile is True and not _can_compile(strategy):
        raise UserError(
            "jit_compile: expected False or 'auto' on these replicas, which XLA cannot compile "
            "together, received True"
        )


def _can_compile(strategy) -> bool:
    """Whether XLA can compile a step of several replicas.

    It cannot if one process has several replicas, whose variables are on several devices, or if the
    workers use CPUs, for which XLA has no collectives.
    """
    ours = tf.distribute.MirroredStrategy, tf.distribute.MultiWorkerMirroredStrategy
    if not isinstance(strategy, ours):
        return True
    alone = len(strategy.extended.worker_devices) == 1
    return alone and bool(tf.config.list_logical_devices("GPU"))


def _function_of_several_steps(model, step_function):
    """Returns Keras' function of `steps_per_execution` steps, without a `tf.cond` around steps."""

    @tf.autograph.experimental.do_not_convert
    def one_step(data):
        outputs = model.distribute_strategy.run(step_function, args=(data,))
        return _trainer_module().reduce_per_replica(outputs, model.distribute_strategy, "auto")

    one_step = tf.function(one_step, reduce_retracing=True, jit_compile=model.jit_compile)
    one_step = model._autoconvert_optionals(one_step)

    @tf.function(reduce_retracing=True)
    @tf.autograph.experimental.do_not_convert
    def steps(iterator):
        number = model.steps_per_execution
        none = tf.experimental.Optional.empty(None)

        def body(step, outputs, data):
            outputs = tf.experimental.Optional.from_value(one_step(data.get_value()))
            none._element_spec = outputs.element_spec  # known only now
            # A batch is taken only if a step of this call will use it.
            data = tf.cond(step + 1 < number, iterator.get_next_as_optional, lambda: data)
            return step + 1, outputs, data

        _, outputs, _ = tf.while_loop(
            lambda step, outputs, data: tf.logical_and(step < number, data.has_value()),
            body,
            (tf.constant(0), none, iterator.get_next_as_optional()),
        )
        outputs._element_spec = none.element_spec
        return outputs

    def function(iterator):
        if isinstance(iterator, tf.data.Iterator | tf.distribute.DistributedIterator):
            outputs = steps(iterator)
            if not outputs.has_value():
                raise StopIteration
            return outputs.get_value()
        for _, data in zip(range(model.steps_per_execution), iterator, strict=False):
            outputs = one_step(data)
        return outputs

    return function


# Keras does not tell the strategy to the object that is `x` in `fit`, `evaluate` or `predict`, so
# the object cannot give each worker its own rows.


class _Told:
    """A fake Pipeline, which stops Keras as soon as it is told the strategy."""

    def use_strategy(self, strategy):
        raise StopIteration


def data_are_not_told_the_strategy() -> bool:
    try:
        iterator = private(_trainer_module(), "TFEpochIterator")
        iterator(x=_Told(), distribute_strategy=tf.distribute.get_strategy())
    except StopIteration:
        return False
    except UserError:
        raise
    except Exception:  # whatever Keras raises for data of an unknown type
        return True
    return True


def tell_data_the_strategy():
    iterator = _trainer_module().TFEpochIterator
    make = iterator.__init__

    def __init__(self, distribute_strategy=None, *arguments, **keywords):
        x = keywords.get("x", arguments[0] if arguments else None)
        if hasattr(x, "use_strategy"):
            x.use_strategy(distribute_strategy)
        make(self, distribute_strategy, *arguments, **keywords)

    iterator.__init__ = __init__
