"""Gradient statistics from the pieces of one replica, and the statistics attached to a model."""

from typing import Any

import keras
import numpy as np
from keras import ops

from lbkeras.errors import UserError
from lbkeras.keras_internals import jax_state
from lbkeras.keras_internals import optimizer as optimizer_internals
from lbkeras.keras_internals.backend import check_backend
from lbkeras.methods.noise_scale.second_moments import has_second_moments, inverse_roots

FIRST_UPDATE = 5  # first update (from 0) whose second moments are usable as divisors
_KEY = "lbkeras.gradient_statistics"  # attribute of the model


class PiecesStatistics:
    """Base of `GradientStatistics`, complete if one replica computes all pieces.

    Args:
        model: as for `GradientStatistics`.
        per_layer: as for `GradientStatistics`.
        preconditioned: as for `GradientStatistics`.
    """

    def __init__(self, model: keras.Model, per_layer: bool = False, preconditioned: bool = False):
        self._model = model
        self._optimizer = getattr(model.optimizer, "inner_optimizer", model.optimizer)
        self._preconditioned = preconditioned
        self._check()
        paths = [_layer(variable) for variable in model.trainable_variables]
        layers = list(dict.fromkeys(paths)) if per_layer else []
        self.columns = [*layers, ""]
        self._column = {path: layers.index(path) for path in paths} if per_layer else {}
        self._pieces, self._inverses = {}, {}  # by replica, during tracing
        self.on_update = None
        self.undivided_error = ""
        self._make_variables()

    def _check(self) -> None:
        optimizer, name = self._optimizer, type(self._optimizer).__name__
        check_backend("gradient statistics", "tensorflow", "jax")
        if optimizer.gradient_accumulation_steps:
            raise UserError(
                "gradient_accumulation_steps: expected none with gradient statistics (MicroBatches "
                f"divides a batch), received {optimizer.gradient_accumulation_steps}"
            )
        if self._preconditioned and not has_second_moments(optimizer):
            raise UserError(
                "preconditioned: expected an optimizer with second moments and beta_2, such as "
                f"Adam, received {name}"
            )

    def _make_variables(self) -> None:
        shape = (8, len(self.columns))
        self._decay, self._averages = (
            keras.Variable(value, dtype="float32", trainable=False, name=name)
            for value, name in (
                (0.99, "gradient_statistics_decay"),
                (np.zeros(shape), "gradient_statistics"),
            )
        )

    # Called by the callback.

    def attach(self) -> None:
        """Makes the model's train step report its gradients, until `detach`."""
        self.detach()
        model = self._model
        if not model.optimizer.built:
            model.optimizer.build(model.trainable_variables)
        set_statistics(model, self)
        jax_state.carry(model, _KEY, [self._decay, self._averages])
        model.train_function = None

    def detach(self) -> None:
        """Restores the model as it was before `attach`."""
        set_statistics(self._model, None)
        jax_state.drop(self._model, _KEY)
        self._model.train_function = None

    @property
    def is_attached(self) -> bool:
        return statistics_of(self._model) is self

    @property
    def variables(self) -> list:
        """State to save in a checkpoint."""
        return [self._averages]

    def set_decay(self, decay: float) -> None:
        """Sets the factor by which an update reduces earlier updates' weights, in [0, 1)."""
        jax_state.synchronize(self._model)
        self._decay.assign(decay)

    def read(self) -> np.ndarray:
        """Returns the state for `lbkeras.analysis.GradientNoiseAverages`, shape (8, columns)."""
        jax_state.synchronize(self._model)
        return np.asarray(ops.convert_to_numpy(self._averages))

    def write(self, state: np.ndarray) -> None:
        """Sets the state that `read` returns."""
        jax_state.synchronize(self._model)
        self._averages.assign(state)

    # Called by the train step, in a replica.

    def begin(self, examples: Any) -> None:
        """Begins an update with this number of examples in this replica."""
        replica = self._replica()
        self._pieces.pop(replica, None)
        self._inverses[replica] = inverse_roots(self._optimizer) if self._preconditioned else None

    def squared_norms(self, gradients: Any, variables: Any) -> Any:
        """Returns |gradient|² by column, float32; a gradient of None counts as 0."""
        inverses = self._inverses.get(self._replica())
        norms: list[list[Any]] = [[] for _ in self.columns]
        for gradient, variable in zip(gradients, variables, strict=True):
            if gradient is None:
                continue
            gradient = ops.cast(self._dense(gradient), "float32")
            if inverses is not None:
                gradient *= inverses[optimizer_internals.variable_index(self._optimizer, variable)]
            norms[self._column.get(_layer(variable), -1)].append(self._squared_norm(gradient))
        sums = [self._sum_of(each) if each else ops.zeros(()) for each in norms]
        if len(sums) > 1:
            sums[-1] = self._sum_of(sums[:-1])
        return ops.stack(sums)

    def pieces(self, norms: Any, examples: int, pieces: int) -> None:
        """Stores the squared norms of a replica's micro-batches.

        Args:
            norms: sum over pieces of |c|² / (examples of the piece), shape (columns,), with c the
                piece's contribution to the replica's gradient, scaled like the loss.
            examples: number of examples in the replica.
            pieces: number of pieces.
        """
        weight = 1 / self._replicas()  # of this replica
        norms *= self._unscaled((examples / weight) ** 2)
        self._pieces[self._replica()] = [norms, examples, pieces, weight**2 / examples]

    def regularized(self, before: Any, after: Any, variables: Any) -> None:
        """Accounts for the regularizers' gradients, which turn the sum `before` into `after`."""
        replica = self._replica()
        changed = [
            each for each in zip(before, after, variables, strict=True) if each[0] is not each[1]
        ]
        if replica not in self._pieces or not changed:
            return
        before, after, variables = zip(*changed, strict=True)
        norms, examples, *others = self._pieces[replica]
        more = self.squared_norms(after, variables) - self.squared_norms(before, variables)
        # sum n |g + r|² = sum n |g|² + examples (|G + r|² − |G|²)
        norms += more * self._unscaled(examples * self._replicas() ** 2)
        self._pieces[replica] = [norms, examples, *others]

    def add_update(self, gradients: Any, variables: Any) -> None:
        """Adds the estimates of the update's pieces to the means, given the update's gradient."""
        pieces = self._pieces.pop(self._replica(), None)
        if pieces is not None:
            norms, *others = pieces
            usable = self._optimizer.iterations >= (FIRST_UPDATE if self._preconditioned else 0)
            self._add(norms, others, self.squared_norms(gradients, variables), usable)

    def _add(self, norms, others, total, usable) -> None:
        """Adds an update to the means, from sums over its pieces and |G|² by column."""
        dtype = self._averages.dtype
        total, norms = ops.cast(total, dtype), ops.cast(norms, dtype)
        examples, number, spread = (ops.cast(each, dtype) for each in others)
        v = (norms / examples - total) / (number / examples - spread)
        g = total - v * spread
        one = ops.ones_like(v)
        decay = self._present(self._decay)
        old = ops.stack([one[0], decay, decay**2, *[decay] * 5])
        new = ops.stack([one[0], 1 - decay, (1 - decay) ** 2, *[1 - decay] * 5])
        before = self._present(self._averages)
        values = ops.stack([one, one, one, v, g, v * v, v * g, g * g])
        after = old[:, None] * before + new[:, None] * values
        usable = ops.logical_and(usable, ops.all(ops.isfinite(v + g)))
        self._averages.assign(ops.where(usable, after, before))

    def _unscaled(self, value: float):
        """Returns the factor of a squared norm, with the loss scale divided out."""
        return value / ops.cast(self._model.optimizer.scale_loss(ops.ones(())), "float32") ** 2

    # Overridden for several replicas.

    def _replica(self) -> int:
        return 0

    def _replicas(self) -> int:
        return 1

    def _present(self, variable):
        return variable.value

    def _dense(self, gradient):
        return gradient

    def _squared_norm(self, gradient):
        return ops.sum(ops.square(gradient))

    def _sum_of(self, scalars):
        return sum(scalars[1:], scalars[0])


def statistics_of(model) -> PiecesStatistics | None:
    """Returns the statistics attached to a model, or None."""
    return vars(model).get(_KEY)


def set_statistics(model, statistics: PiecesStatistics | None) -> None:
    """Attaches statistics to a model; None removes them."""
    vars(model).pop(_KEY, None)
    if statistics is not None:
        vars(model)[_KEY] = statistics


def _layer(variable) -> str:
    return getattr(variable, "path", "").rpartition("/")[0]
