"""Fixes of Keras' optimizers with several replicas.

They concern clipping, averages of the weights, and the overflow check of loss scaling.
"""

import keras
import tensorflow as tf

from lbkeras.keras_internals import loss_reduction
from lbkeras.keras_internals.loss_patches import Meeting
from lbkeras.keras_internals.names import defining_class, private
from lbkeras.keras_internals.optimizer import clip


def _optimizer() -> type:
    """Returns the TensorFlow backend's base class of all optimizers."""
    return defining_class(keras.optimizers.Optimizer, "_all_reduce_sum_gradients")


# Each replica clips its gradients before they are summed. The result differs from clipping the
# gradient of the same batch on one device.


def gradients_are_clipped_before_their_sum() -> bool:
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


def clip_gradients_after_their_sum():
    global _sum
    _sum = _optimizer()._all_reduce_sum_gradients
    _optimizer()._clip_gradients = _clip_unless_summed_later
    _optimizer()._all_reduce_sum_gradients = _sum_then_clip


_sum = None


def _clip_unless_summed_later(self, gradients):
    """Clips now with one replica, or if a subclass sums gradients in its own way.

    Otherwise `_sum_then_clip` clips the sum.
    """
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


# Every `ema_overwrite_frequency` updates Keras overwrites the weights with their averages, inside a
# `tf.cond`, where replicas cannot communicate.


def averages_are_put_in_a_condition() -> bool:
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


def put_averages_without_condition():
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


# Loss scaling skips an update whose gradients are not finite. It checks the gradients of only one
# replica, before they are summed, so an overflow in another replica reaches the weights. With
# several workers each checks its own; if they disagree, they do not reach the same all-reduce.


def a_replica_checks_its_own_gradients() -> bool:
    optimizer, meeting = keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD()), Meeting()
    with meeting.instead_of_ours():
        optimizer.check_finite([tf.ones(1)])
    return not meeting.met


def check_gradients_of_all_replicas():
    check_own = keras.optimizers.LossScaleOptimizer.check_finite

    def check_finite(self, gradients):
        finite = check_own(self, gradients)
        if loss_reduction.replicas() == 1:
            return finite
        count = loss_reduction.sum_over_replicas(tf.cast(finite, tf.float32))
        return tf.equal(count, float(loss_reduction.replicas()))

    keras.optimizers.LossScaleOptimizer.check_finite = check_finite
