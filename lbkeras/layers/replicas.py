"""Sums over replicas for layers."""

from keras import ops


def sum_over_replicas(context, *tensors) -> list:
    """Returns each tensor's sum over all replicas, from a single all-reduce.

    Args:
        context: the `tf.distribute` replica context.
        *tensors: tensors of the same dtype.
    """
    shapes = [ops.shape(tensor) for tensor in tensors]
    flat = [ops.reshape(tensor, (-1,)) for tensor in tensors]
    sizes = [ops.shape(part)[0] for part in flat]
    total = context.all_reduce("SUM", ops.concatenate(flat))
    parts, first = [], 0
    for shape, size in zip(shapes, sizes, strict=True):
        parts.append(ops.reshape(total[first : first + size], shape))
        first += size
    return parts
