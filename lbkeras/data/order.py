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
