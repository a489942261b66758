"""Detects losses that couple the examples of a batch, such as ranking losses."""

import keras
import numpy as np

from lbkeras.errors import UserError
from lbkeras.keras_internals import compiled_loss
from lbkeras.keras_internals import model as internals

_EXAMPLES = 4


def check_losses(model, pipeline, where: str) -> None:
    """Refuses losses over pairs of examples, which differ when the batch is divided.

    Compares the loss of a few examples with the loss of half of them: with their own targets, and
    with the targets of that half repeated. The outputs are drawn from (0.1, 0.9), valid as
    probabilities and as logits; the model itself is not run.

    Args:
        model: built and compiled.
        pipeline: the training data.
        where: what divides the batch, for the message: "micro-batches".

    Raises:
        UserError: a loss couples examples, such as Keras' `Circle`, or returns one number for the
            whole batch, such as Keras' `Dice`.
    """
    if not compiled_loss.has_loss(model) or pipeline.num_examples < _EXAMPLES:
        return
    few = pipeline.in_order(_EXAMPLES, _EXAMPLES)
    x, y, _ = keras.utils.unpack_x_y_sample_weight(next(iter(few.dataset())))
    if not internals.is_built(model):
        internals.build(model, (x, y))
    generator = np.random.default_rng(0)

    def drawn(spec):
        return keras.ops.cast(generator.uniform(0.1, 0.9, (_EXAMPLES, *spec.shape[1:])), spec.dtype)

    y_pred = keras.tree.map_structure(drawn, internals.output_spec(model, x))
    checks = [_Check(loss, where) for loss in compiled_loss.losses(model)]
    compiled_loss.with_losses(model, checks)(y, y_pred, None)


class _Check(keras.losses.Loss):
    """Replaces a compiled loss and checks whether its values depend on the rest of the batch."""

    def __init__(self, loss, where: str):
        super().__init__(name=loss.name, reduction="sum", dtype=loss.dtype)
        self._loss, self._where = loss, where

    def call(self, y_true, y_pred):
        values = self._loss.call(y_true, y_pred)
        alone = self._loss.call(y_true[: _EXAMPLES // 2], y_pred[: _EXAMPLES // 2])
        half = alone.shape[0] if len(alone.shape) else 0
        if not half or tuple(values.shape) != (2 * half, *alone.shape[1:]):
            raise UserError(
                f"loss: expected one value per example, for {self._where}, received {self.name}, "
                f"which returns shape {tuple(values.shape)} for {_EXAMPLES} examples; let it "
                "return the values before their mean"
            )
        # A loss that compares targets, such as one with weights by class counts, needs equal ones,
        # which are rare among so few examples.
        targets = keras.ops.concatenate([y_true[:half], y_true[:half]])
        among_equals = self._loss.call(targets, y_pred)
        if not (_close(values[:half], alone) and _close(among_equals[:half], alone)):
            raise UserError(
                "loss: expected one that treats each example of the batch independently, for "
                f"{self._where}, received {self.name}"
            )
        return values


def _close(values, others) -> bool:
    half_precision = "16" in keras.backend.standardize_dtype(values.dtype)
    values, others = (
        np.asarray(keras.ops.convert_to_numpy(keras.ops.cast(v, "float32")))
        for v in (values, others)
    )
    tolerance = 2e-2 if half_precision else 1e-3
    size = np.max(np.abs(values), initial=0, where=np.isfinite(values))
    return np.allclose(values, others, rtol=tolerance, atol=tolerance * size, equal_nan=True)
