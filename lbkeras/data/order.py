"""The order of the examples in an epoch: a pure function of (seed, epoch), in NumPy alone."""

import numpy as np

_MASK = (1 << 64) - 1


def _generator(seed: int, epoch: int) -> np.random.Generator:
    key = np.array([seed & _MASK, epoch & _MASK], dtype=np.uint64)
    return np.random.Generator(np.random.Philox(key=key))


def epoch_order(num_examples: int, seed: int, epoch: int) -> np.ndarray:
    """The permutation of `range(num_examples)` that epoch `epoch` takes, shape (num_examples,).

    Philox is a counter-based generator keyed by (seed, epoch), so no epoch needs the ones before.
    """
    return _generator(seed, epoch).permutation(num_examples).astype(np.int32)


def step_seeds(seed: int, epoch: int, steps: int) -> np.ndarray:
    """Seeds for the augmentation of each step: int32, shape (steps, 2), the step in the second."""
    epoch_seed = _generator(seed, ~epoch).integers(np.iinfo(np.int32).max, dtype=np.int32)
    return np.stack([np.full(steps, epoch_seed), np.arange(steps)], axis=1).astype(np.int32)


def index_batches(num_examples: int, batch_size: int, *, shuffle: bool, seed: int, epoch: int):
    """The full batches of an epoch and its remainder.

    Returns:
        `(batches, remainder)`: int32 indices of shape (num_examples // batch_size, batch_size), and
        of shape (num_examples % batch_size,).
    """
    if shuffle:
        order = epoch_order(num_examples, seed, epoch)
    else:
        order = np.arange(num_examples, dtype=np.int32)
    full = num_examples // batch_size * batch_size
    return order[:full].reshape(-1, batch_size), order[full:]
