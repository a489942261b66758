"""Batch-norm statistics under several replicas: their mean is what is evaluated and saved."""

import keras

from lbkeras.distribution.replica_average import average_over_replicas


class AverageStatistics(keras.callbacks.Callback):
    """Averages moving statistics over the replicas before each evaluation and at an epoch's end.

    Under a strategy of several replicas a batch normalisation that is not synchronized keeps other
    moving statistics in each replica, from that replica's part of the batches; Keras evaluates each
    replica with its own and saves those of the first. With this callback

        moving_r <- (1/R) sum_s moving_s    for replicas r, s = 1..R

    so that evaluating under the strategy equals evaluating the saved model on one device. The
    variance within replicas is averaged, the variance between their means is not in it (as in
    tf.keras 2). Layers with `synchronized=True`, Keras' and lbkeras', have nothing to mend and are
    left as they are, bit for bit. Put it in front of callbacks that save. Logs nothing; costs an
    all-reduce of the non-trainable variables an epoch, nothing on one device.
    """

    def on_test_begin(self, logs=None):
        average_over_replicas(self.model)

    def on_predict_begin(self, logs=None):
        average_over_replicas(self.model)

    def on_epoch_end(self, epoch, logs=None):
        average_over_replicas(self.model)
