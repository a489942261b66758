"""The order of the examples in an epoch: a pure function of (seed, epoch), in NumPy alone."""

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


def step_seeds(seed: int, epoch: int, steps: int) -> np.ndarray:
    """Seeds for the augmentation of each step: int32, shape (steps, 2), the step in the second."""
    epoch_seed = _generator(seed, ~epoch).integers(np.iinfo(np.int32).max, dtype=np.int32)
    return np.stack([np.full(steps, epoch_seed), np.arange(steps)], axis=1).astype(np.int32)
