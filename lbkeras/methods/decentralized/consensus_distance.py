"""The distance between the nodes in decentralized training."""

import keras
from keras import ops

from lbkeras.errors import UserError
from lbkeras.keras_internals.backend import check_backend


class ConsensusDistance(keras.callbacks.Callback):
    """Logs the root mean square distance of the nodes' weights from their mean.

        consensus_distance = sqrt(1/n * sum_i |x_i - mean_j x_j|^2)

    where x_i is the vector of all trainable weights of node i. Logged at the end of each epoch, in
    the weights' own unit. Put it before callbacks that store logs. Costs a pass over the weights
    per epoch.

    Raises:
        UserError: Keras' backend is not TensorFlow; in `fit`, the model is not a
            `lbkeras.trainers.StackedNodes`.

    Example:

    >>> import keras
    >>> from keras import ops
    >>> from lbkeras import distribution, optimizers
    >>> from lbkeras.trainers import StackedNodes
    >>> model = StackedNodes(keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)]), 2)
    >>> model.compile(optimizers.DmSGD(0.1, distribution.mixing.complete(2)), "mse")
    >>> model.fit(ops.ones((4, 1)), ops.ones((4, 1)), verbose=0,
    ...     callbacks=[ConsensusDistance()]).history["consensus_distance"]
    [0.0]

    Reference: Kong et al., "Consensus Control for Decentralized Deep Learning", arXiv:2102.04828,
    equation 4.
    """

    def __init__(self):
        super().__init__()
        check_backend("ConsensusDistance")

    def on_train_begin(self, logs=None):
        from lbkeras.methods.decentralized.stacked_nodes import StackedNodes

        if not isinstance(self.model, StackedNodes):
            raise UserError(
                "model: expected lbkeras.trainers.StackedNodes, received "
                f"{type(self.model).__name__}"
            )

    def on_epoch_end(self, epoch, logs=None):
        if logs is not None:
            logs["consensus_distance"] = _distance(self.model.node_weights)


def _distance(variables) -> float:
    squares = []
    for variable in variables:
        values = ops.cast(ops.convert_to_tensor(variable), "float32")
        away = values - ops.mean(values, axis=0, keepdims=True)
        squares.append(float(ops.sum(ops.square(away))))
    return (sum(squares) / variables[0].shape[0]) ** 0.5 if variables else 0.0
