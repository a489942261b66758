"""What Keras' losses get wrong with several replicas: parts of unequal weight, the losses that
layers add."""

import contextlib
import contextvars
import threading
import weakref

import keras
import tensorflow as tf

from lbkeras.keras_internals import loss_reduction
from lbkeras.keras_internals.names import private
from lbkeras.keras_internals.trainer_patches import trainer_class

# A replica divides the loss of its part by the part's own number of values, sum of weights or mask:
# parts with unequal sums then count alike. The metric "loss" weights parts by their examples, which
# is right for means over examples only, and is the number of replicas too large for the others.


class Meeting:
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


# What layers add to the loss counts alike for each replica's part: an evaluation's last batch has
# parts of unequal size, and of an empty one the mean is not a number.

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
