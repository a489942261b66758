"""Cross-entropy of integer labels with label smoothing."""

from typing import Any

import keras
from keras import ops

from lbkeras import checks


@keras.saving.register_keras_serializable(package="lbkeras")
class LabelSmoothingCrossentropy(keras.losses.SparseCategoricalCrossentropy):
    """Sparse categorical cross-entropy with label smoothing.

    With s = `label_smoothing`, K classes, an example's label y and CE_k = −log p_k:

        loss = (1 − s) CE_y + s / K Σ_k CE_k

    This equals `keras.losses.CategoricalCrossentropy(label_smoothing=s)` of one-hot labels, without
    creating them. It is computed per example, so sample weights, micro-batches and replicas work as
    with any Keras loss.

    Args:
        label_smoothing: s, 0 to 1; 0 is the plain cross-entropy. Default 0.1.
        from_logits: whether the model outputs logits rather than probabilities. Default False, as
            in Keras; a config of lbkeras sets True.
        reduction: as in `keras.losses.Loss`.
        name: name of the loss.
        dtype: type in which it is computed. Default Keras' float type, float32, even if the model
            computes in 16 bits.

    Shapes: labels `(batch,)` or `(batch, 1)`, outputs `(batch, classes)`; both may have further
    axes in between.

    Raises:
        UserError: `label_smoothing` outside 0 to 1.

    Example:

    >>> loss = LabelSmoothingCrossentropy(0.1, from_logits=True)
    >>> round(float(loss(ops.array([0]), ops.zeros((1, 4)))), 4)  # log 4: all are as likely
    1.3863

    Reference: Szegedy, Vanhoucke, Ioffe, Shlens, Wojna, "Rethinking the Inception Architecture for
    Computer Vision", arXiv:1512.00567, section 7.
    """

    def __init__(
        self,
        label_smoothing: float = 0.1,
        from_logits: bool = False,
        reduction: str | None = "sum_over_batch_size",
        name: str = "label_smoothing_crossentropy",
        dtype: Any = None,
    ):
        super().__init__(from_logits=from_logits, reduction=reduction, name=name, dtype=dtype)
        self.from_logits = from_logits
        self.label_smoothing = checks.number(
            "label_smoothing",
            label_smoothing,
            expected="a number from 0 to 1",
            valid=lambda share: 0 <= share <= 1,
        )

    def call(self, y_true, y_pred):
        of_label = super().call(y_true, y_pred)
        if not self.label_smoothing:
            return of_label
        share = ops.full_like(y_pred, 1 / y_pred.shape[-1])
        of_all = ops.categorical_crossentropy(share, y_pred, from_logits=self.from_logits)
        return (1 - self.label_smoothing) * of_label + self.label_smoothing * of_all

    def get_config(self):
        own = {"label_smoothing": self.label_smoothing, "from_logits": self.from_logits}
        return keras.losses.Loss.get_config(self) | own
