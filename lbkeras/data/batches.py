"""Turns what Keras reads in batches, a PyDataset or a generator, into a stream of examples."""

import inspect
import itertools
import warnings
from collections.abc import Callable, Iterator

import keras
import numpy as np
import tensorflow as tf

from lbkeras.data.source import count, tensors
from lbkeras.errors import UserError


def examples_of(source, num_examples: int | None):
    """Returns examples: a PyDataset's or function's as a stream, a generator's as arrays.

    Args:
        source: a PyDataset; a function without arguments that makes a generator; or a generator,
            which can be read only once and is therefore read to its end, into memory. Each item is
            a batch, as in Keras: `(x, y)`, `(x, y, sample_weight)` or x alone.
        num_examples: in all batches. None: for a PyDataset, computed from the sizes of its first
            and last batch.

    Raises:
        UserError: a generator without `num_examples`, an endless PyDataset, batches that cannot be
            read. The iteration raises it if the number of examples is not `num_examples`, or if
            rows have another shape than in the first batches.
    """
    if isinstance(source, keras.utils.PyDataset):
        number = _num_batches(source)
        looked_at = [_batch(source[each], each) for each in sorted({0, number - 1})]
        if num_examples is None:
            num_examples = count(looked_at[0]) * (number - 1) + count(looked_at[-1])

        if type(source).on_epoch_end is not keras.utils.PyDataset.on_epoch_end:
            warnings.warn(
                "source: on_epoch_end of the PyDataset is not called: Pipeline shuffles the "
                "examples itself, in a different order each epoch",
                stacklevel=3,
            )

        def batches():
            return (source[each] for each in range(number))

    elif num_examples is None:
        raise UserError(
            "num_examples: expected how many examples the generator makes before it ends, "
            "received None"
        )
    elif isinstance(source, Iterator):
        return _in_memory(list(_counted(source, num_examples)))
    else:
        batches = _maker(source)
        looked_at = list(itertools.islice(_counted(batches(), num_examples), 2))
    signature = tf.nest.map_structure(lambda *parts: _specification(parts), *looked_at)

    def checked():
        for number, batch in enumerate(_counted(batches(), num_examples)):
            _check_form(batch, signature, number)
            yield batch if len(batch) > 1 else batch[0]

    stream = tf.data.Dataset.from_generator(
        checked, output_signature=signature if len(signature) > 1 else signature[0]
    )
    return stream.unbatch().apply(tf.data.experimental.assert_cardinality(num_examples))


def _num_batches(source: keras.utils.PyDataset) -> int:
    number = source.num_batches
    if number is None or number < 1:
        what = "an endless one" if number is None else f"{number} batches"
        raise UserError(f"source: expected a PyDataset of at least one batch, received {what}")
    return number


def _maker(function: Callable) -> Callable[[], Iterator]:
    try:
        inspect.signature(function).bind()
        made = iter(function())
    except TypeError as error:
        raise UserError(
            "source: expected a function without arguments that makes a generator, received "
            f"{function!r} ({error})"
        ) from None
    del made
    return lambda: iter(function())


def _batch(item, number: int) -> tuple:
    """Returns an item as tensors; refuses what is not a batch."""
    try:
        batch = tensors(item)
        count(batch)
    except UserError as error:
        raise UserError(f"{error} (batch {number} of the source)") from None
    return batch


def _counted(items, num_examples: int) -> Iterator[tuple]:
    """Yields the batches; raises if they do not have `num_examples` examples in all."""
    seen = 0
    for number, item in enumerate(items):
        batch = _batch(item, number)
        seen += count(batch)
        if seen > num_examples:
            break
        yield batch
    if seen != num_examples:
        found = f"{seen:,}" if seen < num_examples else f"at least {seen:,}"
        raise UserError(
            f"num_examples: expected the number in all batches of the source, {found}, received "
            f"{num_examples:,}"
        )


def _in_memory(batches: list[tuple]) -> tuple:
    def joined(*parts):
        try:
            return np.concatenate([part.numpy() for part in parts])
        except ValueError:
            raise UserError(
                "source: expected rows of one shape in all batches, received several; pad them"
            ) from None

    with tf.device("CPU:0"):
        return tf.nest.map_structure(joined, *batches)


def _specification(parts) -> tf.TensorSpec:
    """Returns the specification of one part; sides that differ between the batches stay open."""
    shapes = {tuple(part.shape[1:]) for part in parts}
    ranks = {len(shape) for shape in shapes}
    rows = [
        lengths.pop() if len(lengths) == 1 else None
        for lengths in (set(each) for each in zip(*shapes, strict=len(ranks) == 1))
    ]
    return tf.TensorSpec((None, *rows), parts[0].dtype)


def _check_form(batch: tuple, signature: tuple, number: int) -> None:
    try:
        tf.nest.assert_same_structure(batch, signature)
        fits = all(
            spec.dtype == part.dtype and spec.shape.is_compatible_with(part.shape)
            for spec, part in zip(tf.nest.flatten(signature), tf.nest.flatten(batch), strict=True)
        )
    except (TypeError, ValueError):
        fits = False
    if not fits:
        received = tf.nest.map_structure(lambda part: (part.dtype.name, *part.shape), batch)
        raise UserError(
            f"source: expected batches like the first ones, {signature}, received {received} "
            f"(batch {number}); pad the rows to one length"
        )
