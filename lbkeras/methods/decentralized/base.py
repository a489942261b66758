"""Base classes of the decentralized optimizers: the nodes and the exchange of their weights."""

import functools
import operator

import numpy as np
from keras import ops

from lbkeras import checks
from lbkeras.errors import UserError
from lbkeras.keras_internals.optimizer import OwnClipping, variable_index
from lbkeras.optimizers.base import WideRule, dense, variable_path, wide


class Decentralized(OwnClipping, WideRule):
    """Base class of optimizers whose nodes have their own weights and average with neighbors.

    The leading axis of every variable, `(num_nodes, ...)`, holds the nodes, as in
    `lbkeras.trainers.StackedNodes`; nothing is sent.

    A subclass names its slots in `_slot_names`. It defines `depart`, which computes what nodes send
    from their weights, and `arrive`, which computes their new weights from what they received. Both
    get the tensors of all nodes and work elementwise. Between the two, a node receives
    sum_j w_ij sent_j, with the weights from `neighbors`. For variables of half precision all of
    this is in float32, including what is sent.
    """

    def __init__(self, num_nodes, learning_rate, momentum=0.0, weight_decay=0.0, **kwargs):
        super().__init__(learning_rate, weight_decay, **kwargs)
        self.num_nodes = checks.integer("num_nodes", num_nodes, minimum=1)
        self.momentum = checks.momentum("momentum", momentum)

    @property
    def _slot_names(self) -> tuple[str, ...]:
        return ("velocity",) if self.momentum else ()

    def depart(self, weight, move, slots):
        """Returns what a node sends, and its new slots.

        Args:
            weight: the node's weights.
            move: `learning_rate * (gradient + weight_decay * weight)`.
            slots: the node's slots by name.
        """
        raise NotImplementedError

    def arrive(self, weight, sent, received, slots):
        """Returns a node's new weights and slots; `received` is the weighted sum of all sent."""
        raise NotImplementedError

    def neighbors(self):
        """Returns `(indices, weights)`, each `(num_nodes, K)`: node i receives from `indices[i]`.

        `indices` is a NumPy array, or a tensor if the neighbors change from step to step. Both are
        None if every node receives the mean of all.
        """
        raise NotImplementedError

    def velocity(self, move, slots):
        """Returns `momentum * velocity + move`, and the slots with this velocity."""
        if not self.momentum:
            return move, slots
        velocity = slots["velocity"] * ops.cast(self.momentum, move.dtype) + move
        return velocity, slots | {"velocity": velocity}

    def build(self, variables):
        """Creates the slots.

        Raises:
            UserError: the variables do not have the nodes in their leading axis, or there are
                several replicas.
        """
        if self.built:
            return
        if self.num_replicas_in_sync > 1:
            raise UserError(
                f"strategy: expected one replica for {type(self).__name__}, whose nodes "
                f"lbkeras.trainers.StackedNodes stacks, received {self.num_replicas_in_sync}"
            )
        if self.num_nodes > 1:
            for variable in variables:
                if tuple(variable.shape[:1]) != (self.num_nodes,):
                    raise UserError(
                        f"variables: expected a leading axis of the {self.num_nodes} nodes (as "
                        "lbkeras.trainers.StackedNodes makes it), received "
                        f"{variable_path(variable)} of shape {tuple(variable.shape)}"
                    )
        super().build(variables)
        names = list(self._slot_names)
        slots = self.add_optimizer_variables(variables, names) if names else ()
        self._slots = [dict(zip(names, each, strict=True)) for each in zip(*slots, strict=True)]
        self._slots = self._slots or [{} for _ in variables]

    def update_step(self, gradient, variable, learning_rate):
        """Makes one update of a variable that holds all nodes."""
        index = variable_index(self, variable)
        slots = {name: ops.convert_to_tensor(s) for name, s in self._slots[index].items()}
        weight = wide(variable)
        sent, slots = self.depart(weight, self._move(index, gradient, weight, learning_rate), slots)
        weight, slots = self.arrive(weight, sent, self._mixed(sent), slots)
        for name, slot in self._slots[index].items():
            self.assign(slot, slots[name])
        self.assign(variable, ops.cast(weight, variable.dtype))

    def get_config(self):
        return super().get_config() | {"num_nodes": self.num_nodes, "momentum": self.momentum}

    def _move(self, index, gradient, weight, learning_rate):
        gradient = dense(gradient, weight)
        decay = self.decay_of(index)
        if decay:
            gradient = gradient + weight * ops.cast(decay, gradient.dtype)
        return gradient * ops.cast(learning_rate, gradient.dtype)

    def _mixed(self, sent):
        """Returns sum_j w_ij sent_j along the leading axis.

        Uses gathers instead of a matrix product, for which a GPU would round the weights to
        TensorFloat-32.
        """
        if self.num_nodes == 1:
            return sent
        indices, weights = self.neighbors()
        if indices is None:
            mean = ops.mean(sent, axis=0, keepdims=True)
            return ops.broadcast_to(mean, sent.shape)
        shape = (self.num_nodes, *[1] * (len(sent.shape) - 1))
        terms = (
            ops.take(sent, indices[:, k], axis=0)
            * ops.reshape(ops.cast(weights[:, k], sent.dtype), shape)
            for k in range(weights.shape[1])
        )
        return functools.reduce(operator.add, terms)

    def clip_gradients(self, gradients):
        """Clips the gradients by each node's own norms."""
        limit = self.clipnorm or self.global_clipnorm
        if self.num_nodes == 1 or not limit:
            return super().clip_gradients(gradients)
        gradients = [g if g is None else wide(g) for g in gradients]
        squares = [
            None if g is None else ops.sum(ops.square(ops.reshape(g, (self.num_nodes, -1))), axis=1)
            for g in gradients
        ]
        if self.global_clipnorm:
            total = sum(square for square in squares if square is not None)
            squares = [total] * len(gradients)
        clipped = []
        for gradient, square in zip(gradients, squares, strict=True):
            if gradient is not None:
                factor = limit / ops.maximum(ops.sqrt(square), ops.cast(limit, square.dtype))
                gradient = gradient * ops.reshape(factor, (-1, *[1] * (len(gradient.shape) - 1)))
            clipped.append(gradient)
        return clipped


class WithMixing(Decentralized):
    """Base class of decentralized optimizers whose nodes average with a fixed mixing matrix."""

    def __init__(self, learning_rate, mixing, momentum=0.9, weight_decay=0.0, **kwargs):
        matrix = _checked(mixing)
        super().__init__(len(matrix), learning_rate, momentum, weight_decay, **kwargs)
        self.mixing = matrix.tolist()
        self._neighbors = _table(matrix)

    def neighbors(self):
        return self._neighbors

    def get_config(self):
        config = super().get_config() | {"mixing": self.mixing}
        del config["num_nodes"]
        return config


def _checked(mixing) -> np.ndarray:
    try:
        matrix = np.asarray(mixing, np.float64)
    except (TypeError, ValueError):
        raise UserError(f"mixing: expected a square matrix, received {mixing!r}") from None
    if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1] or not len(matrix):
        raise UserError(f"mixing: expected a square matrix, received shape {matrix.shape}")
    sums = np.concatenate([matrix.sum(axis=0), matrix.sum(axis=1)])
    worst = sums[np.argmax(abs(sums - 1))]
    if not abs(worst - 1) < 1e-6:
        raise UserError(f"mixing: expected rows and columns that sum to 1, received {worst:g}")
    if not np.allclose(matrix, matrix.T, rtol=0, atol=1e-6):
        raise UserError("mixing: expected a symmetric matrix, received one that is not")
    return matrix


def _table(matrix: np.ndarray):
    """Returns `(indices, weights)`: each node, then its neighbors; padded by itself at weight 0."""
    if np.all(matrix == matrix[0, 0]):
        return None, None
    rows = [[i, *(j for j in np.flatnonzero(row) if j != i)] for i, row in enumerate(matrix)]
    width = max(map(len, rows))
    indices = np.array([row + [row[0]] * (width - len(row)) for row in rows], np.int32)
    weights = np.take_along_axis(matrix, indices, axis=1)
    weights[np.array([[k >= len(row) for k in range(width)] for row in rows])] = 0.0
    return indices, weights
