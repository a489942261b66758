"""What a Pipeline reads in any order: the examples of a set on the disk, or of a user's object."""

import copy
from typing import Any

import numpy as np
import tensorflow as tf


class RandomAccess:
    """Examples that are read by their places, 0 to `num_examples` - 1, several at a time.

    A row is what is stored of an example: `read` gets rows in Python, from several threads at once,
    `parse` makes an element of each in the graph. What a subclass leaves out is that the rows are
    the elements.

    Attributes:
        num_examples: how many there are.
        element_spec: of one element, before a Pipeline's `decode`: a structure of `TensorSpec`.
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
        """The rows at `places`, in that order: for each part an array with a row per place.

        Raises:
            UserError: a row cannot be read.
        """
        raise NotImplementedError

    @property
    def needs_parsing(self) -> bool:
        """Whether an element is more than its row in another form."""
        return type(self).parse is not RandomAccess.parse

    def parse(self, *row: tf.Tensor) -> Any:
        """The element of one row, in the graph."""
        return tf.nest.pack_sequence_as(self.element_spec, row)

    def take(self, examples: int) -> "RandomAccess":
        """The first so many of the examples."""
        taken = copy.copy(self)
        taken.num_examples = examples
        ends = np.minimum(np.cumsum([0, *self.shards]), examples)
        taken.shards = [size for size in np.diff(ends).tolist() if size]
        return taken

    def rows(self, places: tf.Tensor) -> tuple[tf.Tensor, ...]:
        """`read` in the graph."""
        spec = self.row_spec
        read = tf.numpy_function(self.read, [places], [part.dtype for part in spec])
        return tuple(
            tf.ensure_shape(part, (places.shape[0], *each.shape))
            for part, each in zip(read, spec, strict=True)
        )

    def first(self, examples: int) -> tf.data.Dataset:
        """The first so many elements, unbatched."""
        examples = min(examples, self.num_examples)
        rows = tf.data.Dataset.from_tensors(np.arange(examples)).map(self.rows)
        stream = rows.unbatch().map(self.parse)
        return stream.apply(tf.data.experimental.assert_cardinality(examples))
