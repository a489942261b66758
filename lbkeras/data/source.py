"""What a Pipeline reads: arrays in memory, or a stream of examples."""

import tensorflow as tf

from lbkeras.errors import UserError


def tensors(source):
    """The source's arrays as tensors in host memory."""
    if not isinstance(source, tuple) or not 2 <= len(source) <= 3:
        received = f"{type(source).__name__}"
        if isinstance(source, tuple):
            received += f" of length {len(source)}"
        raise UserError(
            "source: expected (x, y) or (x, y, sample_weight) arrays or an unbatched "
            f"tf.data.Dataset, received a {received}"
        )
    with tf.device("CPU:0"):
        return tf.nest.map_structure(tf.convert_to_tensor, source)


def count(source) -> int:
    """How many examples the source has; refuses what a Pipeline cannot read."""
    if isinstance(source, tf.data.Dataset):
        number = int(source.cardinality())
        if number < 0:
            raise UserError(
                "source: expected a tf.data.Dataset of known, finite cardinality, received one of "
                f"{'infinite' if number == -1 else 'unknown'} cardinality; "
                "apply tf.data.experimental.assert_cardinality(number_of_examples)"
            )
        if not isinstance(source.element_spec, tuple) or not 2 <= len(source.element_spec) <= 3:
            raise UserError(
                "source: expected a tf.data.Dataset of (x, y) or (x, y, sample_weight) examples, "
                f"received elements {source.element_spec}"
            )
        shapes = [spec.shape for spec in tf.nest.flatten(source.element_spec)]
        if all(shape.rank and shape[0] is None for shape in shapes):
            raise UserError(
                "source: expected an unbatched tf.data.Dataset, received batches "
                f"{source.element_spec}; apply .unbatch()"
            )
    else:
        if any(part.shape.rank == 0 for part in tf.nest.flatten(source)):
            raise UserError("source: expected arrays with one row an example, received a scalar")
        counts = {len(part) for part in tf.nest.flatten(source)}
        if len(counts) > 1:
            raise UserError(
                "source: expected parts with the same number of examples, received "
                + " and ".join(str(each) for each in sorted(counts))
            )
        number = counts.pop()
    if number == 0:
        raise UserError("source: expected at least one example, received none (an empty split?)")
    return number
