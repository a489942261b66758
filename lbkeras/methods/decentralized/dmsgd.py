"""DmSGD: decentralized momentum SGD."""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from lbkeras.methods.decentralized.base import WithMixing


@keras.saving.register_keras_serializable(package="lbkeras")
class DmSGD(WithMixing):
    """Each node makes a momentum SGD step, then averages its weights with its neighbors'.

    For the weights x_i and the gradient g_i of node i, with w = mixing:

        m_i <- momentum * m_i + learning_rate * (g_i + weight_decay * x_i)
        x_i <- sum_j w_ij (x_j - m_j)

    With the complete graph and equal weights at the start this is momentum SGD on the mean
    gradient, as after an all-reduce. With other graphs and different data on the nodes, it misses
    the optimum by a distance whose square grows as learning_rate^2 / (1 - momentum)^2; `DecentLaM`
    fixes the dependence on the momentum.

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

    Differs from the paper: the learning rate is inside the momentum, as in Keras' SGD. While it is
    constant, the weights are the same.

    Example:

    >>> optimizer = DmSGD(0.1, mixing=[[0.5, 0.5], [0.5, 0.5]], momentum=0.9)
    >>> x = keras.Variable([[1.0], [3.0]])  # one weight of two nodes
    >>> optimizer.apply([keras.ops.convert_to_tensor([[10.0], [0.0]])], [x])
    >>> x.numpy().tolist()
    [[1.5], [1.5]]

    Reference: Yuan et al., "DecentLaM", arXiv:2104.11981, section 3 and algorithm 1.
    """

    def __init__(
        self,
        learning_rate: float | keras.optimizers.schedules.LearningRateSchedule = 0.01,
        mixing: Sequence[Sequence[float]] | np.ndarray = ((1.0,),),
        momentum: float = 0.9,
        weight_decay: float = 0.0,
        name: str = "dmsgd",
        **kwargs: Any,
    ):
        super().__init__(learning_rate, mixing, momentum, weight_decay, name=name, **kwargs)

    def depart(self, weight, move, slots):
        velocity, slots = self.velocity(move, slots)
        return weight - velocity, slots

    def arrive(self, weight, sent, received, slots):
        return received, slots
