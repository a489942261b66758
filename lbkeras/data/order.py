"""Steps and order of an epoch: pure functions of (seed, epoch), in NumPy alone."""

import math
from collections.abc import Sequence

import numpy as np

from lbkeras.errors import UserError

_MASK = (1 << 64) - 1


def _generator(seed: int, epoch: int) -> np.random.Generator:
    key = np.array([seed & _MASK, epoch & _MASK], dtype=np.uint64)
    return np.random.Generator(np.random.Philox(key=key))


def epoch_order(num_examples: int, seed: int, epoch: int) -> np.ndarray:
    """Returns epoch `epoch`'s permutation of `range(num_examples)`, shape (num_examples,).

    Philox is a counter-based generator keyed by (seed, epoch), so no epoch needs earlier ones.
    """
    return _generator(seed, epoch).permutation(num_examples).astype(np.int32)


def order_of_parts(parts: np.ndarray, batch_size: int, seed: int, epoch: int) -> np.ndarray:
    """Returns the order of epoch `epoch` if each node owns a part of the examples.

    In every batch of B examples, rows [i B / n, (i + 1) B / n) belong to node i of n. Examples left
    over after the last full batch come at the end.

    Args:
        parts: the rows that each node owns, `(nodes, examples per node)`.
        batch_size: a multiple of the number of nodes.
        seed, epoch: for the order; the same rows in a different part come in a different order.

    Raises:
        UserError: the number of nodes does not divide the batch size.
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
    """Returns the order of epoch `epoch` for storage that is too slow to read single examples.

    The files are cut into pieces of `window // 64` consecutive examples, at different places each
    epoch. A permutation of all pieces is divided into one sequence per worker, and each sequence
    into windows. The examples of a window are permuted. So a reader that holds a window reads each
    of its 64 pieces, or a few more, from beginning to end.

    This is not a uniform permutation: the examples of a piece are in the same window, so neighbors
    in a file stay close to each other in every epoch. The order depends on `sizes`, `window` and
    `workers`.

    Args:
        sizes: how many examples each file has.
        seed, epoch: for the order.
        window: how many examples are permuted together, at least 1.
        workers: number of workers, at least 1; each reads a sequence of its own.

    Returns:
        Places of examples, counted through all files, `(workers, sum(sizes) // workers)`. The
        examples left over differ each epoch.
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
    """Returns the ends of a sequence's windows: as few as possible of at most `window`, even sizes.

    >>> window_ends(10, 4).tolist()
    [3, 6, 10]
    """
    number = max(1, -(-num_examples // window))
    return np.arange(1, number + 1) * num_examples // number


def step_seeds(seed: int, epoch: int, steps: int) -> np.ndarray:
    """Returns seeds for each step's augmentation: int32 `(steps, 2)`, the second is the step."""
    epoch_seed = _generator(seed, ~epoch).integers(np.iinfo(np.int32).max, dtype=np.int32)
    return np.stack([np.full(steps, epoch_seed), np.arange(steps)], axis=1).astype(np.int32)


def count_steps(num_examples: int, batch_size: int, shuffle: bool) -> int:
    """Returns the batches per pass; if shuffled, a partial batch is dropped."""
    batches = num_examples / batch_size
    return math.floor(batches) if shuffle else math.ceil(batches)
