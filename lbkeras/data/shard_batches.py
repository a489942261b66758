"""Makes batches from files read piece by piece, for storage that reads single examples slowly."""

import concurrent.futures
import itertools
from collections.abc import Callable, Iterator

import numpy as np
import tensorflow as tf

from lbkeras.data.batching import Batching
from lbkeras.data.indexed_batches import IndexedBatches
from lbkeras.data.order import SHARDS, order_of_shards, window_ends
from lbkeras.data.random_access import RandomAccess
from lbkeras.errors import UserError

_THREADS = 8  # each reads one piece after the other
_ROWS = 64  # passed on at a time
_BYTES_OF_A_ROW = 64  # Python's overhead per row, beside its bytes


def check_shards(source) -> None:
    """Refuses sources that are not read in any order: arrays and streams have no files."""
    if not isinstance(source, RandomAccess):
        received = "a tf.data.Dataset" if isinstance(source, tf.data.Dataset) else "data in memory"
        raise UserError(
            f"shuffle: expected {SHARDS!r} only for data that can be read in any order, records on "
            f"disk or an object with len() and [], received it for {received}"
        )


def window_of(source: RandomAccess, shuffle_bytes: int) -> int:
    """Returns the examples per window: `shuffle_bytes` hold the current window and the next."""
    examples = shuffle_bytes // 2 // (source.bytes_each + _BYTES_OF_A_ROW)
    return int(max(1, min(source.num_examples, examples)))


class ShardBatches(IndexedBatches):
    """Makes one worker's batches in the order of `lbkeras.data.order.order_of_shards`.

    While the examples of one window are passed on, the next is read, so two are in memory.

    Args:
        source: the examples.
        batching: how they become batches.
        decode: the Pipeline's.
        window: how many examples are permuted together.
    """

    def __init__(
        self, source: RandomAccess, batching: Batching, decode: Callable | None, window: int
    ):
        super().__init__(source, batching, decode)
        self._window = window
        # Parts of rows with open shapes are padded to the longest of the rows read together.
        form = all(spec.shape.is_fully_defined() for spec in source.row_spec)
        self._threads = _THREADS if form else 1

    def _numbered(self, position) -> tf.data.Dataset:
        number, row = tf.TensorSpec((None,), tf.int64), self._source.row_spec
        rows = tuple(tf.TensorSpec((None, *spec.shape), spec.dtype) for spec in row)
        return tf.data.Dataset.from_generator(
            lambda: self._chunks(*position()),
            output_signature=(number, number, self._examples(rows)),
        ).unbatch()

    def _chunks(self, epoch: int, start: int) -> Iterator[tuple]:
        """Yields a few rows at a time, with the epoch's seed and their numbers in it."""
        numbers, seed = self._own_numbers(start), self._epoch_seed(epoch)
        windows = self._windows(epoch, start, len(numbers))
        pool = concurrent.futures.ThreadPoolExecutor(self._threads)
        try:
            loading = [self._load(pool, places) for places in windows[:1]]
            for following in [*windows[1:], None]:
                rows = loading.pop()()
                if following is not None:
                    loading.append(self._load(pool, following))
                count = len(rows[0])
                for first in range(0, count, _ROWS):
                    some = slice(first, min(first + _ROWS, count))
                    chunk = numbers[some]
                    examples = self._examples(tuple(part[some] for part in rows))
                    yield np.full_like(chunk, seed), chunk, examples
                numbers = numbers[count:]
        finally:
            pool.shutdown(wait=False, cancel_futures=True)

    def _windows(self, epoch: int, start: int, count: int) -> list[np.ndarray]:
        """Returns the places of this worker's next examples, window by window."""
        own, batching = self._own, self._batching
        sizes, workers = self._source.shards, own.num_workers
        order = order_of_shards(sizes, batching.seed, epoch, self._window, workers)
        order = order[own.worker_index].astype(np.int64)
        first = start * own.num_rows(batching.batch_size)
        ends = window_ends(len(order), self._window)
        ends = np.unique(np.clip(ends, first, first + count))
        return [order[a:b] for a, b in itertools.pairwise([first, *ends]) if a < b]

    def _load(self, pool: concurrent.futures.Executor, places: np.ndarray) -> Callable:
        """Starts reading a window; returns a function that waits for the rows, as in `places`."""
        ascending = np.argsort(places)
        parts = np.array_split(places[ascending], min(self._threads, len(places)))
        reading = [pool.submit(self._source.read, part) for part in parts]

        def rows():
            columns = zip(*(each.result() for each in reading), strict=True)
            return [_scattered(np.concatenate(column), ascending) for column in columns]

        return rows


def _scattered(rows: np.ndarray, places: np.ndarray) -> np.ndarray:
    scattered = np.empty_like(rows)
    scattered[places] = rows
    return scattered
