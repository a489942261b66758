"""Batch normalization without moving averages, for any model."""

import keras

from lbkeras.errors import UserError
from lbkeras.keras_internals.model import layers as nested_layers


class LastBatchStatistics(keras.callbacks.Callback):
    """Evaluates with the batch statistics of the last update instead of moving averages.

    Sets the momentum of every batch norm to 0. With `AverageStatistics` after it and R replicas,

        moving_mean = sum_r mean_r / R,   moving_variance = sum_r variance_r / R

    of the last update's batch whenever the model is evaluated or saved. After few, large steps,
    moving averages lag behind the weights; the statistics of one large batch do not. Training
    itself does not change. Ghost batch norms are set to `moving_statistics="mean"`, so they use the
    mean over the batch's ghost batches. With micro-batches, the statistics are those of the last
    one. Logs nothing and costs nothing. The model keeps these settings after `fit`.

    Raises:
        UserError: the model has no batch norm.

    Differs from the paper: no known difference.

    Example:

    >>> model = keras.Sequential([keras.Input((1,)), keras.layers.BatchNormalization()])
    >>> model.compile("sgd", "mse")
    >>> x = keras.ops.array([[1.0], [3.0]])
    >>> _ = model.fit(x, x, verbose=0, callbacks=[LastBatchStatistics()])
    >>> model.layers[0].moving_mean.numpy(), model.layers[0].moving_variance.numpy()
    (array([2.], dtype=float32), array([1.], dtype=float32))

    Reference: Akiba, Suzuki, Fukuda, arXiv:1711.04325, section 3 ("Batch normalization without
    moving averages").
    """

    def set_model(self, model):
        super().set_model(model)
        layers = [
            layer
            for layer in nested_layers(model)
            if isinstance(layer, keras.layers.BatchNormalization)
        ]
        if not layers:
            raise UserError(
                "LastBatchStatistics: expected a model with batch normalization, received "
                f"{model.name!r} without"
            )
        for layer in layers:
            layer.momentum = 0.0
            if hasattr(layer, "moving_statistics"):  # ghosts: their mean, not the last ghost's
                layer.moving_statistics = "mean"
