"""Fixes of Keras' losses with several replicas.

They concern parts of unequal weight and the losses that layers add.
"""

import contextlib
import contextvars
import threading
import weakref

import keras
import tensorflow as tf

from lbkeras.keras_internals import loss_reduction
from lbkeras.keras_internals.names import private
from lbkeras.keras_internals.trainer_patches import trainer_class

# Each replica divides the loss of its part by the part's own number of values, sum of weights or
# sum of mask, so parts with unequal divisors count equally. The metric "loss" weights parts by
# their number of examples, which is right only for means over examples; for other reductions it is
# too large by a factor of the number of replicas.


class Meeting:
    """A fake strategy and replica context for losses: two replicas with equal values."""

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


def replicas_meet_in(name: str, *arguments) -> bool:
    function = private(loss_reduction.module(), name)
    meeting = Meeting()
    with meeting.instead_of_ours():
        function(*arguments)
    return meeting.met


def patch_loss(name: str, patched) -> None:
    module = loss_reduction.module()
    setattr(module, name, patched(private(module, name)))


REDUCE, UNSCALE = "reduce_weighted_values", "unscale_loss_for_distribution"

# A layer has one list of losses for all replicas, whose threads are traced in turns: if replicas
# communicate inside the forward pass or the loss, a replica reads losses that the next one added.


class _LossesOfThread:
    """The attribute with a layer's losses, separate in each thread and so in each replica."""

    def __init__(self):
        self._threads = threading.local()

    def _of_thread(self):
        lists = vars(self._threads)
        return lists.setdefault("lists", weakref.WeakKeyDictionary())

    def __get__(self, layer, kind=None):
        return self if layer is None else self._of_thread().setdefault(layer, [])

    def __set__(self, layer, losses):
        self._of_thread()[layer] = losses


def losses_are_shared() -> bool:
    layer, seen = keras.layers.Layer(), []
    layer.add_loss(tf.zeros(()))
    thread = threading.Thread(target=lambda: seen.extend(private(layer, _LOSSES)))
    thread.start()
    thread.join()
    return bool(seen)


def keep_losses_apart():
    setattr(keras.layers.Layer, _LOSSES, _LossesOfThread())


_LOSSES = "_losses"


# Losses that layers add count equally for each replica's part. But the last batch of an evaluation
# has parts of unequal size, and the mean over an empty part is NaN.

_rows_of_part = contextvars.ContextVar("rows_of_part", default=None)


def added_losses_count_alike() -> bool:
    class Model(keras.Model):
        losses = (tf.ones(()),)

    compute_loss = private(trainer_class(), "_compute_loss")
    model, meeting = Model(), Meeting()
    with meeting.instead_of_ours():
        compute_loss(model, x=tf.ones((1, 1)), training=False)
    return not meeting.met


def weight_added_losses_by_examples():
    compute_loss = private(trainer_class(), "_compute_loss")
    aggregate = private(trainer_class(), "_aggregate_additional_loss")

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

    trainer_class()._compute_loss = compute
    trainer_class()._aggregate_additional_loss = weighted
