"""Batch normalization over small parts of a large batch."""

import math
from typing import Any

import keras
from keras import ops

from lbkeras import checks
from lbkeras.errors import UserError
from lbkeras.keras_internals.replica_context import replica_context
from lbkeras.layers import replicas
from lbkeras.methods.batch_statistics import moments


@keras.saving.register_keras_serializable(package="lbkeras")
class GhostBatchNormalization(keras.layers.BatchNormalization):
    """Batch normalization of each ghost batch, a small part of the batch, by its own statistics.

    In training, for each ghost batch i of `ghost_batch_size` consecutive examples and each channel,

        y = gamma · (x - mean_i) / sqrt(variance_i + epsilon) + beta

    with the biased variance. A batch is cut into `ceil(batch / ghost_batch_size)` ghost batches. If
    `ghost_batch_size` does not divide it, their sizes differ by at most one, as with
    `numpy.array_split`: no example is left out and no ghost batch is tiny. If the whole batch fits
    into one ghost batch, this is plain batch normalization, as it is in inference, where the moving
    statistics are used for any batch size.

    The moving statistics are updated with each of the k ghost batches in order, as by k small
    batches. With m as Keras' `momentum` (1 - η in the paper), and likewise for the variance:

        moving_mean <- m^k · moving_mean + sum_i (1 - m) · m^(k-i) · mean_i,   i = 1..k

    Args:
        ghost_batch_size: number of examples that are normalized together, at least 1; 32 to 256 in
            the literature. Smaller ghosts regularize more.
        axis: of the channels, not 0. Default: the last axis.
        moving_statistics: "sequential" uses the formula above. The averages then remember about
            `ghost_batch_size / (1 - m)` examples, as in small-batch training; with many ghosts this
            may be less than the batch. "mean" makes one update per step with the mean over the
            ghosts, `m · moving_mean + (1 - m) · sum_i mean_i / k`, so the memory is counted in
            steps.
        synchronized: for TensorFlow under `tf.distribute`. False (default): each replica cuts its
            own part of the batch and keeps its own moving statistics; Keras saves those of the
            first replica. True: the moving statistics are updated with the ghost batches of all
            replicas and are the same everywhere, and a ghost batch may span replicas. If
            `ghost_batch_size` exceeds the replica batch size b, replicas form groups of at most
            `ghost_batch_size / b`, as equal as possible, and each group is one ghost batch; with
            one group this is Keras' synchronized batch norm. Costs an all-reduce of 3 numbers
            per channel; if ghost batches span replicas, or if the graph does not know the batch
            size, two all-reduces of 2 numbers per channel and ghost batch. If the graph knows the
            batch size, replicas must get equally many examples.
        **kwargs: all other arguments of `keras.layers.BatchNormalization` (momentum 0.99, epsilon
            1e-3, center, scale, initializers, regularizers, constraints, name, dtype); `renorm` is
            not supported.

    Shapes: `(batch, ..., channels)`, or the channels at `axis`, of rank 2 or more; the output has
    the input's shape. A boolean mask of one dimension less, as recurrent layers use, leaves
    positions out of the statistics. For a ghost without any position left, the moving statistics
    keep their old values with that ghost's weight. Statistics are computed in float32 at least.

    Cost: a training step takes about as long as with `keras.layers.BatchNormalization`, or less.
    Inputs `(batch, features)` with uneven ghosts, or with a batch size that the graph does not
    know, take one to three times as long (`tools/bench_ghost_batch_normalization.py`, on CPU). On
    an NVIDIA H200 with JAX a step took 0.90 to 1.02 times as long for images, and 1.29 to 1.38
    times for inputs (4096, 512).

    Raises:
        UserError: `ghost_batch_size` is not an integer of at least 1, `moving_statistics` is
            unknown, `momentum` is outside of [0, 1], `epsilon` is negative, or the channels are on
            the batch axis; for `renorm=True`, and for `synchronized=True` without TensorFlow.

    Differs from the paper: if the ghost size does not divide the batch, the authors' code cuts it
    into chunks of which the last may be small. Other projects update the moving statistics for each
    ghost at the rate (1 - m) / k (mosaicml/composer), or once, with mean and variance of the whole
    batch (init2winit); see `moving_statistics`.

    Example:

    >>> layer = GhostBatchNormalization(ghost_batch_size=2, epsilon=0.0)
    >>> layer(keras.ops.array([[1.0], [3.0], [10.0], [30.0]]), training=True).numpy().ravel()
    array([-1.,  1., -1.,  1.], dtype=float32)

    Reference: Hoffer, Hubara, Soudry, "Train longer, generalize better: closing the generalization
    gap in large batch training of neural networks", arXiv:1705.08741, algorithm 1.
    """

    def __init__(
        self,
        ghost_batch_size: int,
        axis: int = -1,
        moving_statistics: str = "sequential",
        synchronized: bool = False,
        **kwargs: Any,
    ):
        if kwargs.get("renorm"):
            raise UserError("renorm: expected False, received True")
        if checks.flag("synchronized", synchronized) and keras.backend.backend() != "tensorflow":
            raise UserError(
                "synchronized: expected False, as tf.distribute needs TensorFlow, received True "
                f"on the {keras.backend.backend()} backend"
            )
        if moving_statistics not in ("sequential", "mean"):
            raise UserError(
                "moving_statistics: expected 'sequential' or 'mean', "
                f"received {moving_statistics!r}"
            )
        moments.check_arguments(axis, kwargs)
        super().__init__(axis=axis, synchronized=synchronized, **kwargs)
        self.ghost_batch_size = check_ghost_batch_size(ghost_batch_size)
        self.moving_statistics = moving_statistics

    def build(self, input_shape):
        rank = len(input_shape)
        if rank < 2 or not -rank <= self.axis < rank or self.axis % rank == 0:
            raise UserError(
                f"axis: expected the channels' axis in inputs (batch, ..., channels), not the "
                f"batch's, received axis={self.axis} for inputs of shape {tuple(input_shape)}"
            )
        super().build(input_shape)

    def call(self, inputs, training=None, mask=None):
        if not (training and self.trainable):
            return super().call(inputs, training=False)
        dtype = keras.backend.result_type(inputs.dtype, "float32")
        x = ops.cast(inputs, dtype)
        shape = ops.shape(x)
        context = replica_context() if self.synchronized else None
        ghosts, groups = self._cut(shape[0], context)

        # Equal ghosts are reduced at once. Otherwise each example is reduced, and then examples are
        # pooled to ghosts, so that only the small tensor (examples, channels) is cut.
        equal = _known(shape[0], ghosts) and shape[0] % ghosts == 0
        units = ghosts if equal else shape[0]
        axis = self.axis % len(shape)
        before, after = math.prod(shape[1:axis]), math.prod(shape[axis + 1 :])
        channels = x.shape[axis]
        unit_shape = (units, (shape[0] // units if equal else 1) * before, channels, after)
        z = ops.reshape(x, unit_shape)
        if mask is None:
            mean, variance = moments.plain_moments(z, (1, 3))
            count = ops.full((units, 1), shape[0] // units if equal else 1, dtype)
        else:
            mask = ops.reshape(moments.broadcast_mask(mask, x), unit_shape)
            mean, variance, count = moments.masked_moments(z, mask, (1, 3))
        if not equal:
            place = _places(shape[0], ghosts)
            mean, variance, count = moments.pooled_moments(
                mean,
                variance,
                count,
                add=lambda *parts: [ops.segment_sum(part, place, ghosts) for part in parts],
                spread=lambda part: ops.take(part, place, axis=0),
            )
        mean, variance = self._over_replicas(mean, variance, count, ghosts, groups, context)

        scale = ops.rsqrt(variance + self.epsilon)
        if self.scale:
            scale = scale * ops.cast(self.gamma, dtype)
        offset = -mean * scale
        if self.center:
            offset = offset + ops.cast(self.beta, dtype)
        if not equal:
            scale, offset = (ops.take(part, place, axis=0) for part in (scale, offset))
        y = z * scale[:, None, :, None] + offset[:, None, :, None]
        return ops.cast(ops.reshape(y, shape), self.compute_dtype)

    def get_config(self):
        return {
            **super().get_config(),
            "ghost_batch_size": self.ghost_batch_size,
            "moving_statistics": self.moving_statistics,
        }

    def _cut(self, batch, context):
        """Returns `(ghosts per replica, groups of replicas)`; a group shares its ghosts."""
        if context is None:
            return _at_least_1(-(-batch // self.ghost_batch_size)), 1
        size = context.num_replicas_in_sync
        if _known(batch):
            total, smaller = batch * size, min(self.ghost_batch_size, batch * size)
        else:
            (total,) = replicas.sum_over_replicas(context, ops.cast(batch, "float32"))
            total = _at_least_1(ops.cast(total, "int32"))
            smaller = ops.minimum(self.ghost_batch_size, total)
        replicas_in_ghost = _at_least_1(smaller * size // total)
        ghosts = _at_least_1(-(-total // (self.ghost_batch_size * size)))
        return ghosts, -(-size // replicas_in_ghost)

    def _over_replicas(self, mean, variance, count, ghosts, groups, context):
        """Updates the moving statistics; returns `(mean, variance)` for this replica's ghosts."""
        if context is None:
            self._update(mean, variance, count, 0, ghosts)
            return mean, variance
        size, replica = context.num_replicas_in_sync, context.replica_id_in_sync_group
        if _known(groups) and groups == size:  # every replica has its own ghosts
            self._update(mean, variance, count, replica * ghosts, size * ghosts, context)
            return mean, variance
        group = replica * groups // size
        slot = ops.cast(ops.equal(ops.arange(groups), group), mean.dtype)[:, None, None]
        mean, variance, count = moments.pooled_moments(
            mean,
            variance,
            count,
            add=lambda *parts: replicas.sum_over_replicas(context, *(slot * p for p in parts)),
            spread=lambda part: part[group],
        )
        flat = (ops.reshape(part, (-1, part.shape[-1])) for part in (mean, variance, count))
        self._update(*flat, 0, groups * ghosts)
        return mean[group], variance[group]

    def _update(self, mean, variance, count, first, total, context=None):
        """Updates the moving statistics with the ghosts from number `first` on, of `total`."""
        if self.moving_statistics == "mean":
            weights = (1.0 - self.momentum) / ops.cast(total, mean.dtype)
        else:
            later = total - 1 - first - ops.arange(ops.shape(mean)[0])
            weights = (1.0 - self.momentum) * ops.power(
                ops.cast(self.momentum, mean.dtype), ops.cast(later, mean.dtype)
            )
            weights = weights[:, None]
        weights = weights * ops.cast(count > 0, mean.dtype)
        sums = [ops.sum(part, axis=0) for part in (weights, weights * mean, weights * variance)]
        if context is not None:
            sums = replicas.sum_over_replicas(context, *(ops.stop_gradient(part) for part in sums))
        weight, mean, variance = sums
        for moving, new in ((self.moving_mean, mean), (self.moving_variance, variance)):
            moving.assign(ops.cast(moving, new.dtype) * (1.0 - weight) + new)


def check_ghost_batch_size(value) -> int:
    """Returns `value` as an int of at least 1, or raises a UserError."""
    return checks.integer("ghost_batch_size", value, minimum=1)


def _places(batch, ghosts):
    """Returns each example's ghost; the first `batch % ghosts` ghosts have one example more."""
    size, larger = batch // ghosts, batch % ghosts
    example = ops.arange(batch)
    rest = example - larger * (size + 1)
    return ops.where(rest < 0, example // (size + 1), larger + rest // _at_least_1(size))


def _known(*numbers) -> bool:
    """Whether these are Python numbers, not tensors in the graph."""
    return all(isinstance(number, int) for number in numbers)


def _at_least_1(number):
    return max(number, 1) if _known(number) else ops.maximum(number, 1)
