"""What a piece of a batch adds to the compiled loss of the whole batch."""

import keras
from keras import ops

from lbkeras.errors import UserError
from lbkeras.keras_internals import compiled_loss
from lbkeras.keras_internals.alone import alone
from lbkeras.keras_internals.backend import num_replicas


class WholeBatchNeeded(Exception):
    """A loss divides by weights or a mask whose sum over the whole batch is not known yet."""


class PieceLosses:
    """The losses of `model.compile`, weighted so that those of the pieces add up to the batch's.

    A loss that is a mean over examples counts by the piece's share of the examples; one that
    divides by the sum of its weights or of its mask by the piece's share of that sum; a sum counts
    as it is.

    Args:
        model: built and compiled.
        size: examples in the piece.
        whole_size: examples in the batch.
        divisors: the sum of weights of each loss over the whole batch, as `counts` gives it, the
            mean over replicas; None while it is unknown.

    Attributes:
        values: after a call, what the piece adds to each loss, one scalar a loss.
        counts: after a call, the piece's sum of weights of each loss; 0 where its share is that of
            the examples.

    Raises:
        WholeBatchNeeded: when called without `divisors`, and a loss needs them.
        UserError: when called, and the weight of a piece cannot be known.
    """

    def __init__(self, model, size: int, whole_size: int, divisors=None):
        self._compiled = None
        self._share = size / whole_size
        self._parts = []
        if not compiled_loss.has_loss(model):
            return
        losses = compiled_loss.losses(model)
        divisors = [None] * len(losses) if divisors is None else divisors
        for loss, divisor in zip(losses, divisors, strict=True):
            self._parts.append(_PieceLoss(loss, size, self._share, divisor))
        self._compiled = compiled_loss.with_losses(model, self._parts)

    def __call__(self, y, y_pred, sample_weight):
        """The piece's part of the compiled loss as the optimizer takes it, or None without one."""
        if self._compiled is None:
            return None
        return self._compiled(y, y_pred, sample_weight)

    @property
    def values(self) -> list:
        return [scalar(part.value, self._share) for part in self._parts]

    @property
    def counts(self) -> list:
        return [part.count for part in self._parts]


class _PieceLoss(keras.losses.Loss):
    """Stands for a compiled loss and weights its value."""

    def __init__(self, loss, size: int, share: float, divisor):
        super().__init__(name=loss.name, reduction=loss.reduction, dtype=loss.dtype)
        if share < 1 and type(loss).__call__ is not keras.losses.Loss.__call__:
            raise UserError(
                f"loss: expected losses that define call() for micro-batches, received "
                f"{type(loss).__name__}, which defines __call__(): how its pieces add up is unknown"
            )
        self._loss, self._size, self._share, self._divisor = loss, size, share, divisor
        self.count = ops.zeros(())

    def call(self, y_true, y_pred):
        self._each = self._loss.call(y_true, y_pred)
        return self._each

    def __call__(self, y_true, y_pred, sample_weight=None):
        if self._share == 1:
            self.value = self._loss(y_true, y_pred, sample_weight)
            return self.value
        with alone():
            value = super().__call__(y_true, y_pred, sample_weight)
        if not len(self._each.shape) or self._each.shape[0] != self._size:
            raise UserError(
                f"loss: expected one value an example for micro-batches, received {self.name}, "
                f"which gives shape {tuple(self._each.shape)} for {self._size} examples; let it "
                "return the values before their mean"
            )
        self.value = value * ops.cast(self._factor(y_true, y_pred, sample_weight), value.dtype)
        return self.value

    def _factor(self, y_true, y_pred, sample_weight):
        if self.reduction in ("sum", "none", None):
            return 1.0
        weights = sample_weight if self.reduction == "mean_with_sample_weight" else None
        masked = any(compiled_loss.mask_of(t) is not None for t in (y_pred, self._each))
        if weights is None and not masked:
            return self._share
        if self._divisor is None:
            raise WholeBatchNeeded
        count = _SumOfWeights(self._each, self.dtype)(y_true, y_pred, weights)
        self.count = ops.cast(count, "float32")
        return ops.divide_no_nan(self.count, self._divisor)


class _SumOfWeights(keras.losses.Loss):
    """The sum of weights and mask as Keras puts them on values: the sum of weighted ones."""

    def __init__(self, values, dtype):
        super().__init__(reduction="sum", dtype=dtype)
        self._values = values

    def call(self, y_true, y_pred):
        ones = ops.ones_like(self._values)
        compiled_loss.set_mask(ones, compiled_loss.mask_of(self._values))
        return ones


def scalar(loss, share: float):
    """A loss as its metric takes it: of one without reduction the mean, by the piece's share.

    It is divided by the replicas, as Keras divides every mean.
    """
    loss = ops.cast(loss, keras.backend.floatx())
    if not len(loss.shape):
        return loss
    return ops.mean(loss) * share / num_replicas()


def share_of_additional_loss(loss, size: int, whole_size: int):
    """What a piece's loss of a layer, a mean over its examples, adds to the batch's."""
    if size == whole_size:
        return loss
    if len(loss.shape):
        raise UserError(
            "add_loss: expected scalars, means over the batch, for micro-batches, received a loss "
            f"of shape {tuple(loss.shape)}"
        )
    return loss * ops.cast(size / whole_size, loss.dtype)
