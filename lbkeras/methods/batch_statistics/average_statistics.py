"""Batch-norm statistics on several replicas: their mean is evaluated and saved."""

import keras

from lbkeras.distribution.replica_average import average_over_replicas


class AverageStatistics(keras.callbacks.Callback):
    """Averages moving statistics over the replicas before each evaluation and at each epoch's end.

    Under a strategy with several replicas, a batch norm that is not synchronized keeps separate
    moving statistics on each replica, from that replica's part of the batches. Keras evaluates each
    replica with its own and saves those of the first. With this callback

        moving_r <- (1/R) sum_s moving_s    for replicas r, s = 1..R

    so evaluating under the strategy equals evaluating the saved model on one device. The moving
    variance is the average variance within replicas; it leaves out the variance between their means
    (as in tf.keras 2). Layers with `synchronized=True`, Keras' and lbkeras', need no fix and stay
    bit for bit the same. With `predict(callbacks=[...])` it averages before prediction too. Put it
    before callbacks that save. Logs nothing. Costs an all-reduce of the non-trainable variables
    before each evaluation and at each epoch's end, nothing on one device.
    """

    def on_test_begin(self, logs=None):
        average_over_replicas(self.model)

    def on_predict_begin(self, logs=None):
        average_over_replicas(self.model)

    def on_epoch_end(self, epoch, logs=None):
        average_over_replicas(self.model)
