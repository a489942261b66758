"""Computes the gradients of the pieces of a few batches on TensorFlow, without an update."""

import keras
import numpy as np
import tensorflow as tf

from lbkeras.keras_internals.model import call_for_training, compute_loss


class GradientProbe:
    """Computes gradients of pieces of data at the model's current weights; changes nothing.

    Forward passes run in training mode. State that they change (moving statistics, the states of
    random generators, metrics) is passed from piece to piece within the probe and then discarded:
    the model, its optimizer and the next random numbers are the same as without the probe. The loss
    is `model.compute_loss` of each piece separately. The model must be on one device.

    Cost: the forward and backward passes of the examples, two copies of the gradients, and one
    trace.

    Args:
        model: a compiled and built model.
        statistics: its `GradientStatistics`, which defines the columns of the norms.
    """

    def __init__(self, model, statistics):
        self._model = model
        self._statistics = statistics
        self._gradients = tf.function(self._piece, reduce_retracing=True)

    def __call__(self, pieces) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Probes one batch.

        Args:
            pieces: the pieces of the batch, each in the form in which `fit` takes a batch.

        Returns:
            The arguments of `lbkeras.analysis.piece_estimates`: the examples in each piece, shape
            (1, k); |g_i|², shape (columns, k); and |mean gradient|², shape (columns,).
        """
        weights = self._model.trainable_variables
        state = [tf.convert_to_tensor(v.value) for v in self._state_variables()]
        self._statistics.begin(0)
        sizes, norms, sums = [], [], None
        for piece in pieces:
            gradients, state = self._gradients(piece, state)
            sizes.append(int(_first(piece).shape[0]))
            norms.append(self._statistics.squared_norms(gradients, weights).numpy())
            gradients = [gradient * sizes[-1] for gradient in gradients]
            if sums is not None:
                gradients = [a + b for a, b in zip(sums, gradients, strict=True)]
            sums = gradients
        mean = [total / sum(sizes) for total in sums]
        whole = self._statistics.squared_norms(mean, weights)
        return np.array([sizes]), np.array(norms).T, whole.numpy()

    def _state_variables(self) -> list:
        return [*self._model.non_trainable_variables, *self._model.metrics_variables]

    @tf.autograph.experimental.do_not_convert
    def _piece(self, data, state):
        model = self._model
        x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
        weights, variables = model.trainable_variables, self._state_variables()
        values = [tf.convert_to_tensor(v.value) for v in weights]
        mapping = [*zip(weights, values, strict=True), *zip(variables, state, strict=True)]
        with keras.StatelessScope(mapping, collect_losses=True) as scope:
            with tf.GradientTape() as tape:
                tape.watch(values)
                y_pred = call_for_training(model, x)
                loss = compute_loss(model, x, y, y_pred, sample_weight)
                loss = model.optimizer.scale_loss(loss)
            gradients = tape.gradient(loss, values)
            scale = tf.cast(model.optimizer.scale_loss(tf.ones(())), tf.float32)
        gradients = [
            tf.zeros(v.shape) if g is None else tf.cast(tf.convert_to_tensor(g), tf.float32) / scale
            for g, v in zip(gradients, weights, strict=True)
        ]
        return gradients, [scope.get_current_value(v) for v in variables]


def _first(data):
    return next(part for part in tf.nest.flatten(data) if part is not None)


def batches_in_pieces(dataset, pieces: int, size: int, most: int):
    """Yields batches divided into pieces, from the examples of a pass in their order.

    Args:
        dataset: the batches of the pass, a `tf.data.Dataset`.
        pieces: pieces per batch.
        size: examples per piece.
        most: largest number of batches.

    Yields:
        Lists of pieces.
    """
    batches = dataset.unbatch().batch(size, drop_remainder=True)
    for batch in batches.batch(pieces, drop_remainder=True).take(most):
        yield [keras.tree.map_structure(lambda part: part[i], batch) for i in range(pieces)]  # noqa: B023
