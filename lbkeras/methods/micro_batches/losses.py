"""The contribution of a micro-batch to the compiled loss of the whole batch."""

import keras
from keras import ops

from lbkeras.errors import UserError
from lbkeras.keras_internals import compiled_loss
from lbkeras.keras_internals.alone import alone
from lbkeras.keras_internals.backend import num_replicas


class WholeBatchNeeded(Exception):
    """Raised if a loss divides by the whole batch's sum of weights, which is not yet known.

    The weights are sample weights or a mask.
    """


class PieceLosses:
    """The losses of `model.compile`, weighted so that those of the micro-batches add up.

    Their sum is the loss of the batch. A loss that is a mean over examples is weighted by the
    micro-batch's share of the examples. A loss that divides by the sum of its weights or of its
    mask is weighted by the micro-batch's share of that sum. A loss that is a sum is not weighted.

    Args:
        model: a built and compiled model.
        size: examples in the micro-batch.
        whole_size: examples in the batch.
        divisors: the sum of weights of each loss over the whole batch, as in `counts`, averaged
            over the replicas; None while it is unknown.

    Attributes:
        values: after a call, the micro-batch's contribution to each loss, one scalar per loss.
        counts: after a call, the micro-batch's sum of weights for each loss; 0 for a loss that is
            weighted by the share of the examples.

    Raises:
        WholeBatchNeeded: in a call without `divisors`, if a loss needs them.
        UserError: it cannot be known how the values of a loss add up over micro-batches; for a loss
            with its own `__call__` already when the object is made, else in a call.
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
        """Returns the micro-batch's part of the compiled loss, or None if there is no loss."""
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
    """Replaces a compiled loss and weights its value by the micro-batch's share."""

    def __init__(self, loss, size: int, share: float, divisor):
        super().__init__(name=loss.name, reduction=loss.reduction, dtype=loss.dtype)
        if share < 1 and type(loss).__call__ is not keras.losses.Loss.__call__:
            raise UserError(
                "loss: expected losses that define call(), for micro-batches, received "
                f"{type(loss).__name__}, which defines __call__(), so how it adds up is unknown"
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
                f"loss: expected one value per example, for micro-batches, received {self.name}, "
                f"which returns shape {tuple(self._each.shape)} for {self._size} examples; let it "
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
    """The sum of the weights, with the mask as Keras applies it: a weighted sum of ones."""

    def __init__(self, values, dtype):
        super().__init__(reduction="sum", dtype=dtype)
        self._values = values

    def call(self, y_true, y_pred):
        ones = ops.ones_like(self._values)
        compiled_loss.set_mask(ones, compiled_loss.mask_of(self._values))
        return ones


def scalar(loss, share: float):
    """Returns a loss as a scalar for its metric.

    A loss without reduction is averaged, multiplied by the micro-batch's share and, like every mean
    in Keras, divided by the number of replicas.
    """
    loss = ops.cast(loss, keras.backend.floatx())
    if not len(loss.shape):
        return loss
    return ops.mean(loss) * share / num_replicas()


def share_of_additional_loss(loss, size: int, whole_size: int):
    """Weights a loss that a layer adds, a mean over its examples, by the micro-batch's share."""
    if size == whole_size:
        return loss
    if len(loss.shape):
        raise UserError(
            "add_loss: expected scalars, means over the batch, for micro-batches, received a loss "
            f"of shape {tuple(loss.shape)}"
        )
    return loss * ops.cast(size / whole_size, loss.dtype)
