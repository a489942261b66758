"""Gossiping SGD: in each step every node averages with one random other node."""

from typing import Any

import keras
import numpy as np
from keras import ops

from lbkeras import checks
from lbkeras.methods.decentralized.base import Decentralized
from lbkeras.methods.decentralized.matching import random_matching

_PERIOD = 1024  # steps after which the pairs repeat


@keras.saving.register_keras_serializable(package="lbkeras")
class GossipSGD(Decentralized):
    """Each node makes an SGD step, then averages its weights with one random partner's.

    For the weights x_i and the gradient g_i of node i, and its partner j in this step:

        m_i <- momentum * m_i + learning_rate * (g_i + weight_decay * x_i)
        x_i <- x_i - m_i,   then   x_i <- (x_i + x_j) / 2

    Each step pairs the nodes anew; all pairings are equally probable. With an odd number of nodes,
    one of them stays alone. The pairs are a pure function of `seed` and the step, and repeat after
    1,024 steps.

    The leading axis of every variable holds the nodes, as in `lbkeras.trainers.StackedNodes`.
    Gradients are clipped by each node's own norms.

    Args:
        learning_rate: float, schedule or callable.
        num_nodes: number of nodes, at least 1.
        momentum: of each node's own steps, in [0, 1).
        weight_decay: at least 0; this times the weights is added to the gradient of all variables
            except those of `exclude_from_weight_decay`.
        seed: integer from which the pairs are drawn.
        name: name of the optimizer.
        **kwargs: of `keras.optimizers.Optimizer`: clipnorm, global_clipnorm, clipvalue,
            loss_scale_factor, use_ema.

    Raises:
        UserError: an argument is out of range.

    Differs from the paper: the paper's nodes draw their partners independently, each at its own
    time, and only the node that asks takes the mean. Here steps are synchronous and both take it.

    Example:

    >>> optimizer = GossipSGD(0.1, num_nodes=2)
    >>> x = keras.Variable([[1.0], [3.0]])  # one weight of two nodes
    >>> optimizer.apply([keras.ops.convert_to_tensor([[10.0], [0.0]])], [x])
    >>> x.numpy().tolist()
    [[1.5], [1.5]]

    Reference: Jin et al., "How to scale distributed deep learning?", arXiv:1611.04581, section 2.
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

    def neighbors(self):
        step = ops.cast(self.iterations % _PERIOD, "int32")
        partner = ops.take(ops.convert_to_tensor(self._partners), step, axis=0)
        own = ops.arange(self.num_nodes, dtype="int32")
        return ops.stack([own, partner], axis=1), np.full((self.num_nodes, 2), 0.5)

    def get_config(self):
        return super().get_config() | {"seed": self.seed}
