"""Steps of an epoch and the order of its examples: functions of (seed, epoch), in NumPy alone."""

import math
from collections.abc import Sequence

import numpy as np

from lbkeras.errors import UserError

_MASK = (1 << 64) - 1


def _generator(seed: int, epoch: int) -> np.random.Generator:
    key = np.array([seed & _MASK, epoch & _MASK], dtype=np.uint64)
    return np.random.Generator(np.random.Philox(key=key))


def epoch_order(num_examples: int, seed: int, epoch: int) -> np.ndarray:
    """The permutation of `range(num_examples)` that epoch `epoch` takes, shape (num_examples,).

    Philox is a counter-based generator keyed by (seed, epoch), so no epoch needs the ones before.
    """
    return _generator(seed, epoch).permutation(num_examples).astype(np.int32)


def order_of_parts(parts: np.ndarray, batch_size: int, seed: int, epoch: int) -> np.ndarray:
    """The order in which epoch `epoch` takes the examples of nodes that own a part each.

    Of every batch of B examples, rows [i B / n, (i + 1) B / n) are node i's, of n. What a node has
    left over after the last whole batch stands at the end.

    Args:
        parts: the rows that each node owns, `(nodes, examples of a node)`.
        batch_size: a multiple of the nodes.
        seed, epoch: of the order; the same rows in another part come in another order.

    Raises:
        UserError: a batch size that the nodes do not divide.
    """
    nodes, size = parts.shape
    if batch_size % nodes:
        below = batch_size // nodes * nodes
        raise UserError(
            f"batch_size: expected a multiple of the {nodes} nodes, received {batch_size}; the "
            f"nearest are {below} and {below + nodes}"
        )
    generator = _generator(seed, epoch)
    shuffled = np.stack([part[generator.permutation(size)] for part in parts]).astype(np.int32)
    of_batch = batch_size // nodes
    whole = size // of_batch * of_batch
    batches = shuffled[:, :whole].reshape(nodes, -1, of_batch).swapaxes(0, 1)
    return np.concatenate([batches.ravel(), shuffled[:, whole:].ravel()])


SHARDS = "shards"  # `shuffle` of a Pipeline
PIECES_OF_A_WINDOW = 64


def order_of_shards(
    sizes: Sequence[int], seed: int, epoch: int, window: int, workers: int = 1
) -> np.ndarray:
    """The order of epoch `epoch` where storage is too slow to read single examples anywhere.

    The files are cut into pieces of `window // 64` examples that lie side by side, at other places
    each epoch. A permutation of all pieces is divided into a sequence for each worker, and each
    sequence into windows, whose examples are permuted. So a reader that holds a window reads each
    of its 64 pieces, or a few more, from beginning to end.

    It is no uniform permutation: the examples of a piece are in the same window, so neighbours in a
    file come close to each other in every epoch. The order depends on `sizes`, `window` and
    `workers`.

    Args:
        sizes: how many examples each file has.
        seed, epoch: of the order.
        window: how many examples are permuted together, at least 1.
        workers: that each read a sequence of their own, 1 or more.

    Returns:
        Places of examples, counted through all files, `(workers, sum(sizes) // workers)`; the
        examples left over are others each epoch.
    """
    sizes = np.asarray(sizes, np.int64)
    num_examples, length = int(sizes.sum()), max(1, window // PIECES_OF_A_WINDOW)
    generator = _generator(seed, epoch)
    in_all_files = np.arange(generator.integers(length), num_examples, length)
    begins = np.union1d(np.cumsum(sizes) - sizes, in_all_files)
    begins = begins[begins < num_examples]  # without an empty file at the end
    lengths = np.diff(begins, append=num_examples)
    pieces = generator.permutation(len(begins))
    begins, lengths = begins[pieces], lengths[pieces]
    sequence = np.arange(num_examples) + np.repeat(begins - np.cumsum(lengths) + lengths, lengths)

    own = num_examples // workers
    windows = np.searchsorted(window_ends(own, window), np.arange(own), side="right")
    permuted = np.argsort(windows + generator.random((workers, own)), axis=1)
    sequences = sequence[: workers * own].reshape(workers, own)
    return np.take_along_axis(sequences, permuted, axis=1).astype(np.int32)


def window_ends(num_examples: int, window: int) -> np.ndarray:
    """Where the windows of a sequence end: as few of `window` examples at most as hold it, alike.

    >>> window_ends(10, 4).tolist()
    [3, 6, 10]
    """
    number = max(1, -(-num_examples // window))
    return np.arange(1, number + 1) * num_examples // number


def step_seeds(seed: int, epoch: int, steps: int) -> np.ndarray:
    """Seeds for the augmentation of each step: int32, shape (steps, 2), the step in the second."""
    epoch_seed = _generator(seed, ~epoch).integers(np.iinfo(np.int32).max, dtype=np.int32)
    return np.stack([np.full(steps, epoch_seed), np.arange(steps)], axis=1).astype(np.int32)


def count_steps(num_examples: int, batch_size: int, shuffle: bool) -> int:
    """Batches a pass: the remainder dropped if shuffled."""
    batches = num_examples / batch_size
    return math.floor(batches) if shuffle else math.ceil(batches)
