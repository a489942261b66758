"""What has to be mended in Keras 3 for several replicas, and nothing else.

Each repair is a probe, which says whether this Keras has the fault by running the piece at fault,
and the mending. `lbkeras.distribution.strategy` applies those that are needed wherever there are
several replicas; `tests/keras_internals/repairs_test.py` fails as soon as a Keras comes without
one of the faults, so that its repair can go.
"""

import contextlib
import contextvars
import sys
import threading
import types
import weakref

import keras
import tensorflow as tf

from lbkeras.errors import UserError
from lbkeras.keras_internals import loss_reduction
from lbkeras.keras_internals import model as model_internals
from lbkeras.keras_internals.names import defining_class, private
from lbkeras.keras_internals.optimizer import clip


def _trainer() -> type:
    """The class of the TensorFlow backend that trains, whose name differs between versions."""
    return defining_class(keras.Model, "_make_function")


def _trainer_module():
    return sys.modules[_trainer().__module__]


def _optimizer() -> type:
    """The class of the TensorFlow backend that every optimizer is one of."""
    return defining_class(keras.optimizers.Optimizer, "_all_reduce_sum_gradients")


def faults() -> tuple[str, ...]:
    """The names of the faults that this process's Keras has now: a subset of `REPAIRS`."""
    return tuple(name for name, (is_at_fault, _) in REPAIRS.items() if is_at_fault())


def repair_keras() -> tuple[str, ...]:
    """Mends what Keras gets wrong with several replicas; what is right already is not touched.

    Costs some 50 ms once. Call it yourself only where a strategy does not come from
    `lbkeras.distribution.strategy`, before the first `fit`.

    Returns:
        The names of the faults that it has mended now; empty when called again.
    """
    mended = []
    for name, (is_at_fault, mend) in REPAIRS.items():
        if is_at_fault():
            mend()
            mended.append(name)
    return tuple(mended)


# Before `fit` and `evaluate`, Keras takes one batch to build the model and reduces its parts over
# the replicas: raises for several workers (keras#20585) and for parts of different sizes. It takes
# one for a model that is built, too; TensorFlow 2.21 can crash where an iterator over several
# devices is given up after its first batch, which that would be in each epoch's validation.


def _build_reduces_a_batch() -> bool:
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
    build = private(_trainer(), "_maybe_symbolic_build")
    build(model, iterator=[(0, 0, iter([(Value(), Value())]))])
    return strategy.reduced


def _build_from_a_local_part():
    build = private(_trainer(), "_maybe_symbolic_build")

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

    _trainer()._maybe_symbolic_build = _maybe_symbolic_build


def _largest(parts):
    """A replica's part may be empty; a model is not built for batches of none."""
    return max(parts, key=lambda part: part.shape[0] or 0 if hasattr(part, "shape") else 0)


# The means of losses and metrics over several workers are taken along axis 0, which they have not.


def _means_need_an_axis() -> bool:
    strategy = object.__new__(_SeveralWorkers)
    reduce_per_replica = private(_trainer_module(), "reduce_per_replica")
    reduce_per_replica(tf.constant(0.0), strategy, reduction="mean")
    return strategy.axis is not None


class _SeveralWorkers(tf.distribute.MultiWorkerMirroredStrategy):
    """As far as `reduce_per_replica` looks at a strategy."""

    axis = None
    extended = types.SimpleNamespace(_in_multi_worker_mode=lambda: True)

    def reduce(self, reduce_op, value, axis=None):
        self.axis = axis
        return value


def _means_without_axis():
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


# With steps_per_execution > 1 each step stands in a `tf.cond`, where replicas cannot meet.


def _steps_stand_in_a_condition() -> bool:
    graphs = []

    class Model(_trainer()):
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


def _steps_in_a_plain_loop():
    make_function = private(_trainer(), "_make_function")

    def _make_function(self, step_function):
        several = self.distribute_strategy.num_replicas_in_sync > 1
        if several and self.jit_compile and not _can_compile(self.distribute_strategy):
            raise UserError(
                "jit_compile: expected False or 'auto' on these replicas, which XLA cannot compile "
                "together, received True"
            )
        if self.steps_per_execution == 1 or self.run_eagerly or not several:
            return make_function(self, step_function)
        return _function_of_several_steps(self, step_function)

    _trainer()._make_function = _make_function


def _can_compile(strategy) -> bool:
    """Whether XLA compiles a step of several replicas.

    Not of those in one process, whose variables lie on several devices, nor of workers on CPUs,
    where it has no collectives.
    """
    ours = tf.distribute.MirroredStrategy, tf.distribute.MultiWorkerMirroredStrategy
    if not isinstance(strategy, ours):
        return True
    alone = len(strategy.extended.worker_devices) == 1
    return alone and bool(tf.config.list_logical_devices("GPU"))


def _function_of_several_steps(model, step_function):
    """Keras' function of `steps_per_execution` steps with only the loop's own condition."""

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
            # Nothing is taken that no step of this call will use.
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


# Gradients are clipped a replica at a time, before they are summed: another gradient than that of
# the same batch on one device.


def _gradients_are_clipped_before_their_sum() -> bool:
    order = []

    class Optimizer(keras.optimizers.SGD):
        def _clip_gradients(self, gradients):
            order.append("clip")
            return super()._clip_gradients(gradients)

        def _all_reduce_sum_gradients(self, gradients_and_variables):
            order.append("sum")
            return super()._all_reduce_sum_gradients(gradients_and_variables)

    variable = keras.Variable(tf.zeros(1))
    optimizer = Optimizer(clipvalue=1.0)
    optimizer.build([variable])
    optimizer.apply([tf.ones(1)], [variable])
    return order[0] == "clip" and _optimizer()._all_reduce_sum_gradients is not _sum_then_clip


def _clip_gradients_after_their_sum():
    global _sum
    _sum = _optimizer()._all_reduce_sum_gradients
    _optimizer()._clip_gradients = _clip_unless_summed_later
    _optimizer()._all_reduce_sum_gradients = _sum_then_clip


_sum = None


def _clip_unless_summed_later(self, gradients):
    """A subclass that sums in its own way clips each replica's gradients."""
    sums = type(self)._all_reduce_sum_gradients is _sum_then_clip
    if sums and loss_reduction.replicas() > 1:
        return gradients
    return clip(self, gradients)


def _sum_then_clip(self, gradients_and_variables):
    summed = _sum(self, gradients_and_variables)
    if loss_reduction.replicas() == 1:
        return summed
    clipped = clip(self, [gradient for gradient, _ in summed])
    return [(gradient, variable) for gradient, (_, variable) in zip(clipped, summed, strict=True)]


# The object that `fit`, `evaluate` or `predict` gets as `x` is not told the strategy, so that it
# cannot give each worker its own rows.


class _Told:
    """Stands for a Pipeline: stops Keras as soon as it has been told the strategy."""

    def use_strategy(self, strategy):
        raise StopIteration


def _data_are_not_told_the_strategy() -> bool:
    try:
        iterator = private(_trainer_module(), "TFEpochIterator")
        iterator(x=_Told(), distribute_strategy=tf.distribute.get_strategy())
    except StopIteration:
        return False
    except UserError:
        raise
    except Exception:  # whatever Keras says about data of an unknown type
        return True
    return True


def _tell_data_the_strategy():
    iterator = _trainer_module().TFEpochIterator
    make = iterator.__init__

    def __init__(self, distribute_strategy=None, *arguments, **keywords):
        x = keywords.get("x", arguments[0] if arguments else None)
        if hasattr(x, "use_strategy"):
            x.use_strategy(distribute_strategy)
        make(self, distribute_strategy, *arguments, **keywords)

    iterator.__init__ = __init__


# A replica divides the loss of its part by the part's own number of values, sum of weights or mask:
# parts with unequal sums then count alike. The metric "loss" weights parts by their examples, which
# is right for means over examples only, and is the number of replicas too large for the others.


class _Meeting:
    """Stands for two replicas that say the same: as far as losses look at a strategy."""

    num_replicas_in_sync = 2

    def __init__(self):
        self.met = False

    def all_reduce(self, reduce_op, value):
        self.met = True
        return 2 * value

    @contextlib.contextmanager
    def instead_of_ours(self):
        functions = tf.distribute.get_strategy, tf.distribute.get_replica_context
        tf.distribute.get_strategy = tf.distribute.get_replica_context = lambda: self
        try:
            yield
        finally:
            tf.distribute.get_strategy, tf.distribute.get_replica_context = functions


def _replicas_meet_in(name: str, *arguments) -> bool:
    function = private(loss_reduction.module(), name)
    meeting = _Meeting()
    with meeting.instead_of_ours():
        function(*arguments)
    return meeting.met


def _mend_loss(name: str, mended) -> None:
    module = loss_reduction.module()
    setattr(module, name, mended(private(module, name)))


_REDUCE, _UNSCALE = "reduce_weighted_values", "unscale_loss_for_distribution"

# A layer keeps its losses in one list for all replicas, which are traced in turns: where they meet
# inside the forward pass or the loss, a replica reads what the next one has added.


class _LossesOfThread:
    """The attribute of a layer that holds its losses: in each thread, as a replica has, its own."""

    def __init__(self):
        self._threads = threading.local()

    def _of_thread(self):
        lists = vars(self._threads)
        return lists.setdefault("lists", weakref.WeakKeyDictionary())

    def __get__(self, layer, kind=None):
        return self if layer is None else self._of_thread().setdefault(layer, [])

    def __set__(self, layer, losses):
        self._of_thread()[layer] = losses


def _losses_are_shared() -> bool:
    layer, seen = keras.layers.Layer(), []
    layer.add_loss(tf.zeros(()))
    thread = threading.Thread(target=lambda: seen.extend(private(layer, _LOSSES)))
    thread.start()
    thread.join()
    return bool(seen)


def _keep_losses_apart():
    setattr(keras.layers.Layer, _LOSSES, _LossesOfThread())


_LOSSES = "_losses"


# What layers add to the loss counts alike for each replica's part: an evaluation's last batch has
# parts of unequal size, and of an empty one the mean is not a number.

_rows_of_part = contextvars.ContextVar("rows_of_part", default=None)


def _added_losses_count_alike() -> bool:
    class Model(keras.Model):
        losses = (tf.ones(()),)

    compute_loss = private(_trainer(), "_compute_loss")
    model, meeting = Model(), _Meeting()
    with meeting.instead_of_ours():
        compute_loss(model, x=tf.ones((1, 1)), training=False)
    return not meeting.met


def _weight_added_losses_by_examples():
    compute_loss = private(_trainer(), "_compute_loss")
    aggregate = private(_trainer(), "_aggregate_additional_loss")

    def compute(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        rows = None
        if not training and loss_reduction.replicas() > 1:
            rows = tf.shape(next(part for part in tf.nest.flatten(x) if part is not None))[0]
        token = _rows_of_part.set(rows)
        try:
            return compute_loss(self, x, y, y_pred, sample_weight, training)
        finally:
            _rows_of_part.reset(token)

    def weighted(self, loss):
        loss, rows = aggregate(self, loss), _rows_of_part.get()
        if rows is None:
            return loss
        share = rows * loss_reduction.replicas() / loss_reduction.sum_over_replicas(rows)
        return tf.where(rows > 0, loss * tf.cast(share, loss.dtype), tf.zeros_like(loss))

    _trainer()._compute_loss = compute
    _trainer()._aggregate_additional_loss = weighted


# Every so many updates Keras puts the weights' averages in their place, in a `tf.cond`, where
# replicas cannot meet.


def _averages_are_put_in_a_condition() -> bool:
    class Optimizer(keras.optimizers.SGD):
        graph = None

        def _overwrite_model_variables_with_average_value(self, variables):
            self.graph = type(tf.compat.v1.get_default_graph()).__name__

    variable = keras.Variable(tf.zeros(1))
    optimizer = Optimizer(use_ema=True, ema_overwrite_frequency=2)
    optimizer.build([variable])

    @tf.function
    def update():
        optimizer.apply([tf.ones(1)], [variable])

    update.get_concrete_function()
    return "Cond" in optimizer.graph and not hasattr(_optimizer(), _PUT)


def _put_averages_without_condition():
    update = private(_optimizer(), "_update_model_variables_moving_average")
    overwrite = private(_optimizer(), "_overwrite_model_variables_with_average_value")

    def update_and_put(self, variables):
        update(self, variables)
        if loss_reduction.replicas() > 1 and self.use_ema and self.ema_overwrite_frequency:
            put_averages(self, variables)

    def put_averages(self, variables):
        averages = private(self, "_model_variables_moving_average")
        pairs = [(v.value, a) for v, a in zip(variables, averages, strict=True) if a is not None]
        due = tf.equal((self.iterations + 1) % self.ema_overwrite_frequency, 0)

        def put(strategy, due):
            for variable, average in pairs:
                strategy.extended.update(
                    variable,
                    lambda v, a, due: v.assign(tf.where(due, a, v)),
                    args=(average.value, due),
                    group=False,
                )

        tf.__internal__.distribute.interim.maybe_merge_call(
            put, private(self, "_distribution_strategy"), due
        )

    def overwrite_outside(self, variables):
        if loss_reduction.replicas() == 1:
            overwrite(self, variables)

    _optimizer()._update_model_variables_moving_average = update_and_put
    _optimizer()._overwrite_model_variables_with_average_value = overwrite_outside
    setattr(_optimizer(), _PUT, True)


_PUT = "_lbkeras_puts_averages"


REPAIRS = {
    "model is built from a reduced batch": (_build_reduces_a_batch, _build_from_a_local_part),
    "means over workers need an axis": (_means_need_an_axis, _means_without_axis),
    "steps stand in a condition": (_steps_stand_in_a_condition, _steps_in_a_plain_loop),
    "gradients are clipped before their sum": (
        _gradients_are_clipped_before_their_sum,
        _clip_gradients_after_their_sum,
    ),
    "a part is divided by its own weights": (
        lambda: not _replicas_meet_in(_REDUCE, tf.ones(2)),
        lambda: _mend_loss(_REDUCE, loss_reduction.reduced_over_replicas),
    ),
    "the shown loss counts parts by their examples": (
        lambda: not _replicas_meet_in(_UNSCALE, tf.ones(())),
        lambda: _mend_loss(_UNSCALE, loss_reduction.shown_over_replicas),
    ),
    "replicas share the losses of a layer": (_losses_are_shared, _keep_losses_apart),
    "added losses count parts alike": (
        _added_losses_count_alike,
        _weight_added_losses_by_examples,
    ),
    "averages are put in a condition": (
        _averages_are_put_in_a_condition,
        _put_averages_without_condition,
    ),
    "data are not told the strategy": (_data_are_not_told_the_strategy, _tell_data_the_strategy),
}
