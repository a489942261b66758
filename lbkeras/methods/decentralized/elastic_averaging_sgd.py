"""Elastic averaging SGD: nodes on springs around a common center."""

from typing import Any

import keras
from keras import ops

from lbkeras import checks
from lbkeras.errors import UserError
from lbkeras.methods.decentralized.base import Decentralized


@keras.saving.register_keras_serializable(package="lbkeras")
class ElasticAveragingSGD(Decentralized):
    """Each node makes an SGD step, then the nodes and a common center pull at each other.

    For the weights x_i and the gradient g_i of node i, and the center c:

        m_i <- momentum * m_i + learning_rate * (g_i + weight_decay * x_i)
        x_i <- x_i - m_i
        x_i <- x_i - elasticity * (x_i - c),   c <- c + elasticity * sum_i (x_i - c)

    The last two use the values before the pull, so the sum of the nodes' and the center's weights
    does not change. The center starts at the nodes' weights, which must be equal at that time. Each
    node keeps a copy of it (a slot as large as the weights). The exchange is an all-reduce of the
    nodes' mean.

    The leading axis of every variable holds the nodes, as in `lbkeras.trainers.StackedNodes`.
    Gradients are clipped by each node's own norms.

    Args:
        learning_rate: float, schedule or callable.
        num_nodes: number of nodes, at least 1.
        elasticity: in (0, 1 / num_nodes]; None: 0.9 / num_nodes, with which the center moves nine
            tenths of the way to the nodes' mean in each step.
        momentum: of each node's own steps, in [0, 1).
        weight_decay: at least 0; this times the weights is added to the gradient of all variables
            except those of `exclude_from_weight_decay`.
        name: name of the optimizer.
        **kwargs: of `keras.optimizers.Optimizer`: clipnorm, global_clipnorm, clipvalue,
            loss_scale_factor, use_ema.

    Raises:
        UserError: an argument is out of range.

    Differs from the paper: all nodes pull at the same time, in every step. The nodes' mean is
    evaluated, as with the other decentralized optimizers, not the center.

    Example:

    >>> optimizer = ElasticAveragingSGD(0.1, num_nodes=2, elasticity=0.5)
    >>> x = keras.Variable([[2.0], [2.0]])  # one weight of two nodes
    >>> optimizer.apply([keras.ops.convert_to_tensor([[10.0], [0.0]])], [x])
    >>> x.numpy().tolist()
    [[1.5], [2.0]]

    Reference: Jin et al., "How to scale distributed deep learning?", arXiv:1611.04581, section 2;
    Zhang, Choromanska, LeCun, arXiv:1412.6651, equations 5 and 6.
    """

    def __init__(
        self,
        learning_rate: float | keras.optimizers.schedules.LearningRateSchedule = 0.01,
        num_nodes: int = 1,
        elasticity: float | None = None,
        momentum: float = 0.0,
        weight_decay: float = 0.0,
        name: str = "elastic_averaging_sgd",
        **kwargs: Any,
    ):
        super().__init__(num_nodes, learning_rate, momentum, weight_decay, name=name, **kwargs)
        if elasticity is None:
            elasticity = 0.9 / self.num_nodes
        self.elasticity = checks.positive("elasticity", elasticity)
        if self.elasticity * self.num_nodes > 1 + 1e-6:
            raise UserError(
                f"elasticity: expected at most 1 / num_nodes = {1 / self.num_nodes:g}, "
                f"received {elasticity!r}"
            )

    @property
    def _slot_names(self):
        return (*super()._slot_names, "centre")

    def depart(self, weight, move, slots):
        velocity, slots = self.velocity(move, slots)
        return weight - velocity, slots

    def arrive(self, weight, sent, received, slots):
        centre = ops.where(self.iterations == 0, weight, slots["centre"])
        pull = ops.cast(self.elasticity, sent.dtype)
        pull_of_all = ops.cast(self.num_nodes * self.elasticity, sent.dtype)
        slots = slots | {"centre": centre + (received - centre) * pull_of_all}
        return sent - (sent - centre) * pull, slots

    def neighbors(self):
        return None, None

    def get_config(self):
        return super().get_config() | {"elasticity": self.elasticity}
