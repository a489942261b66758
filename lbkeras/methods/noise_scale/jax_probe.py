"""Computes the gradients of the pieces of a few batches on JAX, without an update."""

import jax
import keras
import numpy as np
from jax import numpy as jnp

from lbkeras.keras_internals import jax_state
from lbkeras.keras_internals.model import call_for_training, compute_loss


class GradientProbe:
    """Computes gradients of pieces of data at the model's current weights; changes nothing.

    Forward passes run in training mode. State that they change (moving statistics, the states of
    random generators, metrics) is passed from piece to piece within the probe and then discarded.
    The loss is `model.compute_loss` of each piece separately.

    Cost: the forward and backward passes of the examples, two copies of the gradients, and one
    compilation.

    Args:
        model: a compiled and built model.
        statistics: its `GradientStatistics`, which defines the columns of the norms.
    """

    def __init__(self, model, statistics):
        self._model, self._statistics = model, statistics
        self._add_piece = jax.jit(self._added)
        self._norms_of_mean = jax.jit(self._norms)

    def __call__(self, pieces) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Probes one batch.

        Args:
            pieces: the pieces of the batch, each in the form in which `fit` takes a batch.

        Returns:
            The arguments of `lbkeras.analysis.piece_estimates`: the examples in each piece, shape
            (1, k); |g_i|², shape (columns, k); and |mean gradient|², shape (columns,).
        """
        jax_state.synchronize(self._model)
        fixed = [v.value for v in self._fixed()]
        state = [v.value for v in self._state_variables()]
        sums = [jnp.zeros(v.shape, "float32") for v in self._model.trainable_variables]
        sizes, norms = [], []
        for piece in pieces:
            sizes.append(jax.tree.leaves(piece)[0].shape[0])
            sums, state, of_piece = self._add_piece(sums, state, fixed, piece)
            norms.append(np.asarray(of_piece))
        whole = self._norms_of_mean([total / sum(sizes) for total in sums], fixed)
        return np.array([sizes]), np.array(norms).T, np.asarray(whole)

    def _fixed(self) -> list:
        return [*self._model.trainable_variables, *self._model.optimizer.variables]

    def _state_variables(self) -> list:
        return [*self._model.non_trainable_variables, *self._model.metrics_variables]

    def _norms(self, gradients, fixed):
        with keras.StatelessScope(zip(self._fixed(), fixed, strict=True)):
            self._statistics.begin(0)
            return self._statistics.squared_norms(gradients, self._model.trainable_variables)

    def _added(self, sums, state, fixed, data):
        """Adds a piece's gradients to the sums; also returns the new state and squared norms."""
        model = self._model
        x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
        weights, variables = model.trainable_variables, self._state_variables()
        pairs = [*zip(self._fixed(), fixed, strict=True), *zip(variables, state, strict=True)]

        def loss_of(values):
            mapping = [*pairs, *zip(weights, values, strict=True)]  # the latter take precedence
            with keras.StatelessScope(mapping, collect_losses=True) as scope:
                y_pred = call_for_training(model, x)
                loss = compute_loss(model, x, y, y_pred, sample_weight)
                scale = model.optimizer.scale_loss(jnp.ones(()))
                after = [scope.get_current_value(v) for v in variables]
                return jnp.sum(model.optimizer.scale_loss(loss)), (scale, after)

        present = fixed[: len(weights)]
        gradients, (scale, after) = jax.grad(loss_of, has_aux=True)(present)
        gradients = [g.astype("float32") / scale.astype("float32") for g in gradients]
        size = jax.tree.leaves(data)[0].shape[0]
        sums = [total + size * g for total, g in zip(sums, gradients, strict=True)]
        return sums, after, self._norms(gradients, fixed)


def batches_in_pieces(dataset, pieces: int, size: int, most: int):
    """Yields batches divided into pieces, from the examples of a pass in their order.

    Args:
        dataset: the batches of the pass, arrays in any structure.
        pieces: pieces per batch.
        size: examples per piece.
        most: largest number of batches.

    Yields:
        Lists of pieces.
    """
    rows = None
    for batch in dataset:
        batch = jax.tree.map(np.asarray, batch)
        rows = batch if rows is None else jax.tree.map(_joined, rows, batch)
        while most and len(jax.tree.leaves(rows)[0]) >= pieces * size:
            yield [_rows(rows, i * size, (i + 1) * size) for i in range(pieces)]
            rows = _rows(rows, pieces * size, None)
            most -= 1
        if not most:
            return


def _joined(one, other):
    return np.concatenate([one, other])


def _rows(batch, start: int, stop: int | None):
    return jax.tree.map(lambda part: part[start:stop], batch)
