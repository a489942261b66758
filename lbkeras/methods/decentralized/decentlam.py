"""DecentLaM: decentralized large-batch momentum SGD."""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from lbkeras.methods.decentralized.base import WithMixing


@keras.saving.register_keras_serializable(package="lbkeras")
class DecentLaM(WithMixing):
    """Momentum SGD on the step that decentralized SGD without momentum would make.

    For the weights x_i and the gradient g_i of node i, with w = mixing:

        d_i <- x_i - sum_j w_ij (x_j - learning_rate * (g_j + weight_decay * x_j))
        m_i <- momentum * m_i + d_i
        x_i <- x_i - m_i

    Without momentum this is decentralized SGD, and with momentum it converges to the same point. If
    nodes have different data, that point is at a distance from the optimum, but unlike with
    `DmSGD` the distance does not grow with 1 / (1 - momentum). With large batches, which leave
    little noise, this distance is decisive. With the complete graph and equal weights at the start
    this is momentum SGD on the mean gradient, as after an all-reduce.

    The leading axis of every variable holds the nodes, as in `lbkeras.trainers.StackedNodes`.
    Gradients are clipped by each node's own norms.

    Args:
        learning_rate: float, schedule or callable.
        mixing: symmetric, doubly stochastic matrix `(num_nodes, num_nodes)`, for example
            `lbkeras.distribution.mixing.ring(8)`.
        momentum: in [0, 1).
        weight_decay: at least 0; this times the weights is added to the gradient of all variables
            except those of `exclude_from_weight_decay`.
        name: name of the optimizer.
        **kwargs: of `keras.optimizers.Optimizer`: clipnorm, global_clipnorm, clipvalue,
            loss_scale_factor, use_ema.

    Raises:
        UserError: an argument is out of range.

    Differs from the paper: the paper's gradient is d_i / learning_rate, and the learning rate
    multiplies m_i. Here it is inside the momentum, as in Keras' SGD. The weights are the same while
    the learning rate is constant, and nothing is divided by a learning rate of 0, as at the start
    of a warm-up or the end of a decay.

    Example:

    >>> optimizer = DecentLaM(0.1, mixing=[[0.5, 0.5], [0.5, 0.5]], momentum=0.9)
    >>> x = keras.Variable([[1.0], [3.0]])  # one weight of two nodes
    >>> optimizer.apply([keras.ops.convert_to_tensor([[10.0], [0.0]])], [x])
    >>> x.numpy().tolist()
    [[1.5], [1.5]]

    Reference: Yuan et al., "DecentLaM: Decentralized Momentum SGD for Large-batch Deep Training",
    arXiv:2104.11981, section 4 and algorithm 2.
    """

    def __init__(
        self,
        learning_rate: float | keras.optimizers.schedules.LearningRateSchedule = 0.01,
        mixing: Sequence[Sequence[float]] | np.ndarray = ((1.0,),),
        momentum: float = 0.9,
        weight_decay: float = 0.0,
        name: str = "decentlam",
        **kwargs: Any,
    ):
        super().__init__(learning_rate, mixing, momentum, weight_decay, name=name, **kwargs)

    def depart(self, weight, move, slots):
        return weight - move, slots

    def arrive(self, weight, sent, received, slots):
        if not self.momentum:
            return received, slots
        velocity, slots = self.velocity(weight - received, slots)
        return weight - velocity, slots
