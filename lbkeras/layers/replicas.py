"""What layers ask of `tf.distribute`: sums over the replicas that run the same step."""

import keras
from keras import ops


def replica_context():
    """TensorFlow's replica context where several replicas run this step together, else None."""
    if keras.backend.backend() != "tensorflow":
        return None
    import tensorflow as tf

    context = tf.distribute.get_replica_context()
    if context is None or context.num_replicas_in_sync == 1:
        return None
    return context


def sum_over_replicas(context, *tensors) -> list:
    """The sums over all replicas of tensors of one dtype, by a single all-reduce."""
    shapes = [ops.shape(tensor) for tensor in tensors]
    flat = [ops.reshape(tensor, (-1,)) for tensor in tensors]
    sizes = [ops.shape(part)[0] for part in flat]
    total = context.all_reduce("SUM", ops.concatenate(flat))
    parts, first = [], 0
    for shape, size in zip(shapes, sizes, strict=True):
        parts.append(ops.reshape(total[first : first + size], shape))
        first += size
    return parts
