"""Random pairs of nodes for gossiping, in pure NumPy."""

import numpy as np

_MASK = (1 << 64) - 1


def random_matching(num_nodes: int, seed: int, step: int) -> np.ndarray:
    """Returns each node's partner in one step, as a pure function of (seed, step).

    All pairings are equally probable. With an odd number of nodes, one stays alone.

    Args:
        num_nodes: at least 1.
        seed: an integer.
        step: an integer.

    Returns:
        int32, `(num_nodes,)`, with `partner[partner[i]] == i`; a node that stays alone is its own
        partner.

    >>> partner = random_matching(6, seed=0, step=3)
    >>> partner[partner].tolist()
    [0, 1, 2, 3, 4, 5]
    """
    key = np.array([seed & _MASK, step & _MASK], dtype=np.uint64)
    order = np.random.Generator(np.random.Philox(key=key)).permutation(num_nodes)
    half = num_nodes // 2
    partner = np.arange(num_nodes, dtype=np.int32)
    first, second = order[:half], order[half : 2 * half]
    partner[first], partner[second] = second, first
    return partner
