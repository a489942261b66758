"""What a Pipeline reads in any order: a set on disk, or a user's object."""

import copy
from typing import Any

import numpy as np
import tensorflow as tf


class RandomAccess:
    """Examples that are read by their places, 0 to `num_examples` - 1, several at a time.

    A row is an example as it is stored. `read` returns rows, in Python, and is called from several
    threads at once; `parse` makes an element of each row, in the graph. By default rows are
    elements; a subclass overrides `row_spec` and `parse` if they are not.

    Attributes:
        num_examples: how many examples there are.
        element_spec: a structure of `TensorSpec` of one element, before a Pipeline's `decode`.
        shards: the number of examples in each file, in the order of their places.
        bytes_each: mean size of a stored row.
    """

    num_examples: int
    element_spec: Any
    shards: list[int]
    bytes_each: float

    @property
    def row_spec(self) -> list[tf.TensorSpec]:
        """The form of a row, part by part."""
        return tf.nest.flatten(self.element_spec)

    def read(self, places: np.ndarray) -> list[np.ndarray]:
        """Returns the rows at `places`, in that order: for each part an array with a row per place.

        Raises:
            UserError: a row cannot be read.
        """
        raise NotImplementedError

    @property
    def needs_parsing(self) -> bool:
        """Whether `parse` does more than pack a row into the structure of an element."""
        return type(self).parse is not RandomAccess.parse

    def parse(self, *row: tf.Tensor) -> Any:
        """Returns the element of one row, in the graph."""
        return tf.nest.pack_sequence_as(self.element_spec, row)

    def take(self, examples: int) -> "RandomAccess":
        """Returns the first `examples` examples."""
        taken = copy.copy(self)
        taken.num_examples = examples
        ends = np.minimum(np.cumsum([0, *self.shards]), examples)
        taken.shards = [size for size in np.diff(ends).tolist() if size]
        return taken

    def rows(self, places: tf.Tensor) -> tuple[tf.Tensor, ...]:
        """Calls `read` from the graph."""
        spec = self.row_spec
        read = tf.numpy_function(self.read, [places], [part.dtype for part in spec])
        return tuple(
            tf.ensure_shape(part, (places.shape[0], *each.shape))
            for part, each in zip(read, spec, strict=True)
        )

    def first(self, examples: int) -> tf.data.Dataset:
        """Returns the first `examples` elements as an unbatched stream."""
        examples = min(examples, self.num_examples)
        rows = tf.data.Dataset.from_tensors(np.arange(examples)).map(self.rows)
        stream = rows.unbatch().map(self.parse)
        return stream.apply(tf.data.experimental.assert_cardinality(examples))
