"""Gossiping SGD: in each step every node averages with one random other."""

from typing import Any

import keras
import numpy as np
from keras import ops

from lbkeras import checks
from lbkeras.methods.decentralized.base import Decentralized
from lbkeras.methods.decentralized.matching import random_matching

_PERIOD = 1024  # steps after which the pairs come again


@keras.saving.register_keras_serializable(package="lbkeras")
class GossipSGD(Decentralized):
    """Each node makes a step of SGD, then takes the mean with one random partner.

    For the weights x_i and the gradient g_i of node i, and its partner j in this step:

        m_i <- momentum * m_i + learning_rate * (g_i + weight_decay * x_i)
        x_i <- x_i - m_i,   then   x_i <- (x_i + x_j) / 2

    The nodes are paired anew each step, every way to pair them equally probable; with an odd number
    one of them stays alone. The pairs are a pure function of `seed` and the step, and come again
    after 1,024 steps.

    The nodes stand in the leading axis of every variable, as `lbkeras.trainers.StackedNodes` makes
    them. Clipping is by each node's own norms.

    Args:
        learning_rate: float, schedule or callable.
        num_nodes: how many nodes, at least 1.
        momentum: of each node's own steps, in [0, 1).
        weight_decay: times the weights, added to the gradient, at least 0; of all variables, but
            those of `exclude_from_weight_decay`.
        seed: integer that pairs the nodes.
        name: name of the optimizer.
        **kwargs: of `keras.optimizers.Optimizer`: clipnorm, global_clipnorm, clipvalue,
            loss_scale_factor, use_ema.

    Raises:
        UserError: an argument is out of its range.

    Differs from the paper: there each node draws its partner by itself, at its own time, and only
    the one who asks takes the mean; here steps are synchronous and both take it.

    Example:

    >>> optimizer = GossipSGD(0.1, num_nodes=2)
    >>> x = keras.Variable([[1.0], [3.0]])  # one weight of two nodes
    >>> optimizer.apply([keras.ops.convert_to_tensor([[10.0], [0.0]])], [x])
    >>> x.numpy().tolist()
    [[1.5], [1.5]]

    Reference: Jin et al., "How to scale distributed deep learning?", arXiv 1611.04581, section 2.
    """

    def __init__(
        self,
        learning_rate: float | keras.optimizers.schedules.LearningRateSchedule = 0.01,
        num_nodes: int = 1,
        momentum: float = 0.0,
        weight_decay: float = 0.0,
        seed: int = 0,
        name: str = "gossip_sgd",
        **kwargs: Any,
    ):
        super().__init__(num_nodes, learning_rate, momentum, weight_decay, name=name, **kwargs)
        self.seed = checks.integer("seed", seed)
        steps = range(_PERIOD)
        self._partners = np.stack([random_matching(num_nodes, seed, step) for step in steps])

    def depart(self, weight, move, slots):
        velocity, slots = self.velocity(move, slots)
        return weight - velocity, slots

    def arrive(self, weight, sent, received, slots):
        return received, slots

    def neighbours(self):
        step = ops.cast(self.iterations % _PERIOD, "int32")
        partner = ops.take(ops.convert_to_tensor(self._partners), step, axis=0)
        own = ops.arange(self.num_nodes, dtype="int32")
        return ops.stack([own, partner], axis=1), np.full((self.num_nodes, 2), 0.5)

    def get_config(self):
        return super().get_config() | {"seed": self.seed}
