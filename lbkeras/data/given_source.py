"""Brings what a Pipeline is given into one of the three forms that it reads."""

import tensorflow as tf

from lbkeras.data.arrays import is_in_batches, is_items
from lbkeras.data.batches import examples_of
from lbkeras.data.first_examples import check_last_steps
from lbkeras.data.items import Items
from lbkeras.data.random_access import RandomAccess
from lbkeras.data.source import count, tensors
from lbkeras.errors import UserError


def as_source(source, num_examples: int | None):
    """Returns a source as tensors, as random access, or as a stream of known cardinality."""
    if is_items(source):
        source = Items(source)
    elif is_in_batches(source):
        source = examples_of(source, num_examples)
    if isinstance(source, tf.data.Dataset):
        check_last_steps(source)  # before batches are counted as examples
        if num_examples is not None and source.cardinality() == tf.data.UNKNOWN_CARDINALITY:
            source = source.apply(tf.data.experimental.assert_cardinality(num_examples))
    elif not isinstance(source, RandomAccess):
        source = tensors(source)
    if num_examples is not None and num_examples != count(source):
        raise UserError(
            f"num_examples: expected {count(source)} (the source's), received {num_examples}"
        )
    return source
