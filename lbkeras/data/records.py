"""The records of a prepared set's files, in any order."""

from collections.abc import Callable, Sequence

import numpy as np
import tensorflow as tf

from lbkeras.data.random_access import RandomAccess
from lbkeras.data.record_files import ArrayRecordFiles, TfRecordFiles


class Records(RandomAccess):
    """Serialized examples in files, parsed in the graph.

    Args:
        files: their storage.
        parts: what is read of them, one part after the other: `(file, skip, take)`, the file's
            number, how many of its records are left out before the part, and how many are in it.
        parse: a record, a string scalar, to an element.
    """

    def __init__(
        self,
        files: TfRecordFiles | ArrayRecordFiles,
        parts: Sequence[tuple[int, int, int]],
        parse: Callable,
    ):
        self._files = files
        self._numbers, skips, takes = np.array(parts, np.int64).T
        self._ends = np.cumsum(takes)
        self._shifts = self._ends - takes - skips  # from a record's number to its place
        self._parse = parse
        self.shards = takes.tolist()
        self.num_examples = int(takes.sum())
        self.bytes_each = files.bytes_each
        self.element_spec = tf.data.Dataset.from_tensors("").map(parse).element_spec

    @property
    def row_spec(self) -> list[tf.TensorSpec]:
        return [tf.TensorSpec((), tf.string)]

    def read(self, places: np.ndarray) -> list[np.ndarray]:
        records = np.empty(len(places), object)
        ascending = np.argsort(places)
        parts = np.searchsorted(self._ends, places[ascending], side="right")
        for part in np.unique(parts):
            rows = ascending[parts == part]
            numbers = places[rows] - self._shifts[part]
            found = self._files.read(int(self._numbers[part]), numbers)
            for row, record in zip(rows, found, strict=True):
                records[row] = record
        return [records]

    def parse(self, *row: tf.Tensor):
        return self._parse(*row)
