"""The gradients of a few batches in pieces on JAX, without an update."""

import jax
import keras
import numpy as np
from jax import numpy as jnp

from lbkeras.keras_internals import jax_state
from lbkeras.keras_internals.model import call_for_training, compute_loss


class GradientProbe:
    """Gradients of pieces of data at the model's present weights, which change nothing.

    Forward passes are those of training. What they would change (moving statistics, the states of
    random generators, metrics) goes on from piece to piece within the probe and is then forgotten.
    The loss is `model.compute_loss`, of each piece by itself.

    Costs the forward and backward passes of the examples, two copies of the gradients, and one
    compilation.

    Args:
        model: compiled and built.
        statistics: its `GradientStatistics`, for the columns of the norms.
    """

    def __init__(self, model, statistics):
        self._model, self._statistics = model, statistics
        self._add_piece = jax.jit(self._added)
        self._norms_of_mean = jax.jit(self._norms)

    def __call__(self, pieces) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Probes one batch.

        Args:
            pieces: its pieces, each what `fit` takes as a batch.

        Returns:
            `lbkeras.analysis.piece_estimates`' arguments: examples of each piece, shape (1, k),
            |g_i|², shape (columns, k), and |mean gradient|², shape (columns,).
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
        """The sum of gradients with a piece's, the state after it, and its squared norms."""
        model = self._model
        x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
        weights, variables = model.trainable_variables, self._state_variables()
        pairs = [*zip(self._fixed(), fixed, strict=True), *zip(variables, state, strict=True)]

        def loss_of(values):
            mapping = [*pairs, *zip(weights, values, strict=True)]  # the latter count
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
    """Batches of so many pieces, from the examples of a pass in order.

    Args:
        dataset: the batches of the pass, arrays in any structure.
        pieces: of each batch.
        size: examples in a piece.
        most: batches.

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
