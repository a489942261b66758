"""Random access to the records of a prepared set's files."""

from collections.abc import Callable

import numpy as np
import tensorflow as tf

from lbkeras.data.file_parts import FileParts
from lbkeras.data.random_access import RandomAccess


class Records(RandomAccess):
    """Serialized examples in files, parsed in the graph.

    Args:
        files: the parts of files, numbered through.
        parse: function from a record, a string scalar, to an element.
    """

    def __init__(self, files: FileParts, parse: Callable):
        self._files = files
        self._parse = parse
        self.shards = files.shards
        self.num_examples = files.num_examples
        self.bytes_each = files.bytes_each
        self.element_spec = tf.data.Dataset.from_tensors("").map(parse).element_spec

    @property
    def row_spec(self) -> list[tf.TensorSpec]:
        return [tf.TensorSpec((), tf.string)]

    def read(self, places: np.ndarray) -> list[np.ndarray]:
        return [self._files.read(places)]

    def parse(self, *row: tf.Tensor):
        return self._parse(*row)
