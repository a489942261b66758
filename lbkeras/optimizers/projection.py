"""The projection that AdamP and SGDP share: no step along the weights of scale-invariant layers."""

from keras import ops


def project(weights, gradient, step, delta, weight_decay_ratio, epsilon):
    """The step without its part along the weights, where the weights look scale-invariant.

    The variable is looked at in two views: its output channels (the last axis in Keras) as rows,
    then the whole layer as one row of length n. The first view in which

        max over rows of |cos(gradient, weights)| < delta / sqrt(n)

    is projected row by row, step <- step - (step . ŵ) ŵ with ŵ = w / (|w| + epsilon).

    Args:
        weights: tensor of rank >= 2.
        gradient: raw gradient, of the same shape; the cosine is taken with it.
        step: the direction to project, of the same shape.
        delta: threshold of the cosine.
        weight_decay_ratio: what the weight decay is multiplied with where a view is projected.
        epsilon: added to norms.

    Returns:
        `(step, ratio)`: the projected step, and weight_decay_ratio or 1.0 as a float32 scalar. No
        branch depends on data, so it compiles with XLA.
    """
    dtype = step.dtype
    shape = tuple(weights.shape)
    weights, gradient, step = (ops.cast(x, "float32") for x in (weights, gradient, step))
    by_channel, in_channels = _projected(weights, gradient, step, (-1, shape[-1]), delta, epsilon)
    by_layer, in_layer = _projected(weights, gradient, step, (-1, 1), delta, epsilon)
    result = ops.where(in_channels, by_channel, ops.where(in_layer, by_layer, step))
    ratio = ops.where(ops.logical_or(in_channels, in_layer), weight_decay_ratio, 1.0)
    return ops.cast(result, dtype), ops.cast(ratio, "float32")


def _projected(weights, gradient, step, view, delta, epsilon):
    """The step projected in one view (a row is a column here), and whether the view fires."""
    w, g, p = (ops.reshape(x, view) for x in (weights, gradient, step))
    weight_norm = _norms(w) + epsilon
    gradient_norm = _norms(g) + epsilon
    cosine = ops.abs(ops.sum(w * g, axis=0)) / weight_norm / gradient_norm
    fires = ops.max(cosine) < delta / w.shape[0] ** 0.5
    unit = w / weight_norm
    projected = p - unit * ops.sum(unit * p, axis=0)
    return ops.reshape(projected, weights.shape), fires


def _norms(x):
    return ops.sqrt(ops.sum(ops.square(x), axis=0))
