"""Computes training piece by piece with `tf.GradientTape`, for comparison with `fit`.

For models without batch norm and dropout: each piece's gradient is that of its own mean loss.
"""

import keras
import numpy as np
import tensorflow as tf


def divided(size, piece):
    """Returns the bounds of the pieces of a batch."""
    starts = [*range(0, size, piece), size]
    return list(zip(starts[:-1], starts[1:], strict=True))


def gradients(model, batch, bounds):
    """Returns each piece's gradient of its mean loss with regularizers, float64 (k, weights)."""
    rows = []
    for start, stop in bounds:
        x, y = (part[start:stop] for part in batch)
        with tf.GradientTape() as tape:
            loss = keras.ops.mean(
                keras.losses.sparse_categorical_crossentropy(y, model(x), from_logits=True)
            )
            loss = sum(model.losses, loss)
        parts = tape.gradient(loss, [v.value for v in model.trainable_variables])
        rows.append(np.concatenate([part.numpy().ravel() for part in parts]).astype("float64"))
    return np.array(rows)


def update(model, change):
    """Adds a flat change to the weights."""
    start = 0
    for variable in model.trainable_variables:
        size = int(np.prod(variable.shape))
        variable.assign_add(change[start : start + size].reshape(variable.shape).astype("float32"))
        start += size


def estimates(pieces, sizes):
    """Returns tr(Σ) and |G|² from the weighted scatter of the pieces around their mean."""
    sizes = np.asarray(sizes, float)
    mean = sizes @ pieces / sizes.sum()
    trace = (sizes * ((pieces - mean) ** 2).sum(-1)).sum() / (len(sizes) - 1)
    return trace, mean @ mean - trace / sizes.sum()


def means(rows, decay):
    """Returns the weighted means of the rows' columns, their ratio and its standard error."""
    rows = np.array(rows)
    weights = np.array([decay ** (len(rows) - 1 - i) for i in range(len(rows))])
    weights /= weights.sum()
    trace, squared_norm = weights @ rows
    squares = (weights**2).sum()
    residuals = rows - weights @ rows
    covariance = (weights[:, None] * residuals).T @ residuals * squares / (1 - squares)
    slope = np.array([1, -trace / squared_norm]) / squared_norm
    return trace, squared_norm, trace / squared_norm, np.sqrt(slope @ covariance @ slope)
