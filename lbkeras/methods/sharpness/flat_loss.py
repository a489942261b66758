"""The loss over a data set as a function of one vector of all weights."""

from typing import TYPE_CHECKING

import keras
import numpy as np
import tensorflow as tf

from lbkeras.errors import UserError
from lbkeras.keras_internals.backend import check_backend
from lbkeras.methods.decentralized.stacked_nodes import StackedNodes

if TYPE_CHECKING:
    from lbkeras.data.pipeline import Pipeline


class FlatLoss:
    """The compiled loss f(x) over a data set and its gradient, with x the trainable weights.

        f(x) = sum_b n_b / N * f_b(x)

    over batches b of n_b of N examples. f is the loss that training minimizes, with regularization,
    but in inference mode (batch norm with moving statistics, no dropout), so it does not depend on
    how the data are divided into batches. The loss must be a mean over examples.

    Weights and statistics are read once, when the object is created, and passed to the forward pass
    as tensors. So the model is not changed, and f stays the same function if the model is trained
    further.

    Each pass runs on one device, even for a model under a strategy with several replicas or
    workers; there every worker computes the same.

    Args:
        model: a built and compiled model.
        pipeline: an `lbkeras.data.Pipeline`. Its examples are read in the order of its source,
            without augmentation.
        examples: number of examples to use, from the start; None: all.
        batch_size: examples per forward and backward pass; it affects only memory.

    Attributes:
        weights: x at the time when the object was created, float64 of shape (weights,).

    Raises:
        UserError: the model is a `StackedNodes` or has no trainable weights, `examples` is not
            between 1 and the number of examples, or Keras' backend is not TensorFlow.

    Example:

    >>> import lbkeras
    >>> model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1, use_bias=False)])
    >>> model.compile(loss="mse")
    >>> data = np.array([[1.0], [3.0]]), np.array([[0.0], [0.0]])
    >>> f = FlatLoss(model, lbkeras.data.Pipeline(data, batch_size=1))
    >>> f.value_and_gradient(np.array([2.0]))  # (1 + 9) / 2 * 2^2, and (1 + 9) * 2
    (20.0, array([20.]))
    """

    def __init__(
        self,
        model: keras.Model,
        pipeline: "Pipeline",
        examples: int | None = None,
        batch_size: int = 1000,
    ):
        self.check(model)
        data = pipeline.in_order(batch_size, examples)
        self._examples = data.num_examples
        self._batches = data.dataset()
        self._model = model
        self._variables = list(model.trainable_variables)
        trainable = {id(variable) for variable in self._variables}
        others = [variable for variable in model.variables if id(variable) not in trainable]
        self._others = [(v, tf.convert_to_tensor(_array(v))) for v in others]
        self._sizes = [int(np.prod(variable.shape)) for variable in self._variables]
        values = [np.ravel(_array(v)).astype(np.float64) for v in self._variables]
        self.weights = np.concatenate(values)
        self._pass = tf.function(self._loss_and_gradient, reduce_retracing=True)

    @staticmethod
    def check(model: keras.Model) -> None:
        """Raises the `UserError` that the constructor would raise for this model."""
        check_backend("backend")
        if isinstance(model, StackedNodes):
            raise UserError(
                "model: expected one set of weights, received lbkeras.trainers.StackedNodes, whose "
                "nodes have weights of their own; measure its mean_model()"
            )
        if not model.trainable_variables:
            raise UserError(f"model: expected trainable weights, received {model.name!r} without")

    def value_and_gradient(self, weights: np.ndarray) -> tuple[float, np.ndarray]:
        """Returns f and its gradient, from one forward and backward pass over the data.

        Args:
            weights: array of the shape of `self.weights`. It is cast to float32; batches are
                summed in float64.
        """
        weights = tf.convert_to_tensor(np.asarray(weights, np.float32))
        loss, gradient = 0.0, np.zeros(len(self.weights))
        for batch in self._batches:
            value, part, size = self._pass(weights, batch)
            share = int(size) / self._examples
            loss += share * float(value)
            gradient += share * part.numpy().astype(np.float64)
        return loss, gradient

    def _loss_and_gradient(self, weights, batch):
        with tf.GradientTape() as tape:
            tape.watch(weights)
            value, size = self._loss(weights, batch)
        return value, tape.gradient(value, weights, unconnected_gradients="zero"), size

    def _loss(self, weights, batch):
        x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(batch)
        parts = tf.split(weights, self._sizes)
        mapping = [
            (variable, tf.cast(tf.reshape(part, variable.shape), variable.dtype))
            for variable, part in zip(self._variables, parts, strict=True)
        ]
        model = self._model
        with keras.StatelessScope(state_mapping=mapping + self._others, collect_losses=True):
            predicted = model(x, training=False)
            value = model.compute_loss(x, y, predicted, sample_weight, training=False)
        return value, tf.shape(tf.nest.flatten(x)[0])[0]


def _array(variable) -> np.ndarray:
    return np.asarray(keras.ops.convert_to_numpy(variable))
