"""Batch normalisation whose inference uses the last training batch's statistics."""

import keras
from keras import ops

from lbkeras import checks
from lbkeras.errors import UserError
from lbkeras.layers import replicas
from lbkeras.methods.batch_statistics import moments


@keras.saving.register_keras_serializable(package="lbkeras")
class BatchNormalizationWithoutMovingAverages(keras.layers.BatchNormalization):
    """Batch normalisation that keeps the last batch's statistics instead of moving averages.

    Training is that of `keras.layers.BatchNormalization`. After each step, with R replicas,

        moving_mean = sum_r mean_r / R,   moving_variance = sum_r variance_r / R

    of this step's batch. With few, large steps a moving average lags behind the weights; the
    statistics of one large batch do not. Inference normalises by them. For statistics that belong
    to the final weights, of more than one batch, see `lbkeras.layers.recompute_statistics`.

    Args:
        axis: of the channels. Default: the last one.
        synchronized: TensorFlow only. Whether replicas also normalise by the statistics of the
            whole batch, as Keras does it; moving statistics are averaged in either case. The
            average costs an all-reduce of 2 numbers a channel in each step. Default False.
        **kwargs: those of `keras.layers.BatchNormalization` (epsilon 1e-3, center, scale,
            initializers, ..., name, dtype). `momentum` has no meaning and is refused unless it is
            0; `renorm` is not supported.

    Shapes: as in `keras.layers.BatchNormalization`, masks included.

    Raises:
        UserError: `momentum` other than 0, a negative `epsilon`, `renorm=True`.

    Differs from the paper: statistics are averaged over the replicas in each step, not once before
    each validation, so what any replica uses or saves is right at any time.

    Example:

    >>> layer = BatchNormalizationWithoutMovingAverages()
    >>> y = layer(keras.ops.array([[1.0], [3.0]]), training=True)
    >>> layer.moving_mean.numpy(), layer.moving_variance.numpy()
    (array([2.], dtype=float32), array([1.], dtype=float32))

    Reference: Akiba, Suzuki, Fukuda, "Extremely large minibatch SGD: training ResNet-50 on ImageNet
    in 15 minutes", arXiv:1711.04325, "Batch normalization without moving averages".
    """

    def __init__(self, axis=-1, synchronized=False, **kwargs):
        if kwargs.get("renorm"):
            raise UserError("renorm: expected False, received True")
        if kwargs.get("momentum"):
            raise UserError(
                "momentum: expected 0, as nothing is averaged over steps, "
                f"received {kwargs['momentum']!r}"
            )
        checks.flag("synchronized", synchronized)
        moments.check_arguments(axis, kwargs)
        kwargs["momentum"] = 0.0
        super().__init__(axis=axis, synchronized=synchronized, **kwargs)

    def call(self, inputs, training=None, mask=None):
        if not (training and self.trainable):
            return super().call(inputs, training=False)
        # With momentum 0 Keras' own layer leaves this batch's statistics in the variables.
        outputs = super().call(inputs, training=True, mask=mask)
        context = replicas.replica_context()
        if context is not None and not self.synchronized:
            variables = (self.moving_mean, self.moving_variance)
            sums = replicas.sum_over_replicas(context, *(ops.copy(v) for v in variables))
            for variable, total in zip(variables, sums, strict=True):
                variable.assign(total / context.num_replicas_in_sync)
        return outputs
