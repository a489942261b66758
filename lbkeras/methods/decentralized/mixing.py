"""Mixing matrices of decentralized training, which say who averages with whom, in pure NumPy.

Entry (i, j) of a mixing matrix is the weight that node i gives to node j's parameters. All matrices
here are symmetric and doubly stochastic: rows and columns sum to 1, so averaging keeps the nodes'
mean.
"""

import math
from collections.abc import Callable

import numpy as np

from lbkeras import checks
from lbkeras.errors import UserError, unknown_name


def ring(num_nodes: int) -> np.ndarray:
    """Returns the mixing matrix of a ring.

    Each node averages with the one before and the one after it, all three with weight 1/3. For
    three nodes and more, the eigenvalues are `(1 + 2 cos(2 pi k / num_nodes)) / 3`.

    Args:
        num_nodes: at least 1.

    Returns:
        The mixing matrix, float64, `(num_nodes, num_nodes)`.

    >>> ring(4).round(2).tolist()[0]
    [0.33, 0.33, 0.0, 0.33]
    """
    return _circulant(num_nodes, [1])


def exponential(num_nodes: int) -> np.ndarray:
    """Returns the mixing matrix of the static exponential graph.

    Each node averages with those 1, 2, 4, ... places before and after it, all with the same weight.
    Both directions make the matrix symmetric, as DecentLaM requires.

    Args:
        num_nodes: at least 1.

    Returns:
        The mixing matrix, float64, `(num_nodes, num_nodes)`.
    """
    _check_nodes(num_nodes)
    return _circulant(num_nodes, [2**k for k in range((num_nodes - 1).bit_length())])


def grid(num_nodes: int) -> np.ndarray:
    """Returns the mixing matrix of a grid, as close to a square as `num_nodes` allows.

    Nodes average with those beside, above and below them; opposite edges are not connected. The
    degrees differ, so these are Metropolis-Hastings weights: 1 / (1 + the larger degree of the two)
    for a neighbor, the rest for the node itself. A prime number of nodes makes one row.

    Args:
        num_nodes: at least 1.

    Returns:
        The mixing matrix, float64, `(num_nodes, num_nodes)`.
    """
    _check_nodes(num_nodes)
    rows = next(r for r in range(math.isqrt(num_nodes), 0, -1) if num_nodes % r == 0)
    row, column = np.divmod(np.arange(num_nodes), num_nodes // rows)
    distance = abs(row[:, None] - row) + abs(column[:, None] - column)
    return metropolis_hastings(distance == 1)


def complete(num_nodes: int) -> np.ndarray:
    """Returns the matrix of the complete graph: all weights 1 / num_nodes, like an all-reduce."""
    _check_nodes(num_nodes)
    return np.full((num_nodes, num_nodes), 1 / num_nodes)


TOPOLOGIES: dict[str, Callable[[int], np.ndarray]] = {
    "ring": ring,
    "grid": grid,
    "exponential": exponential,
    "complete": complete,
}


def mixing_matrix(topology: str, num_nodes: int) -> np.ndarray:
    """Returns the mixing matrix of a topology by its name.

    Args:
        topology: "ring", "grid", "exponential" or "complete".
        num_nodes: at least 1.

    Raises:
        UserError: the name is another one, or there are no nodes.

    >>> round(spectral_gap(mixing_matrix("exponential", 16)), 3)
    0.5
    """
    if topology not in TOPOLOGIES:
        raise UserError(unknown_name("topology", topology, TOPOLOGIES))
    return TOPOLOGIES[topology](num_nodes)


def metropolis_hastings(adjacent: np.ndarray) -> np.ndarray:
    """Returns a symmetric, doubly stochastic matrix for any undirected graph.

    w_ij = 1 / (1 + max(degree_i, degree_j)) between neighbors, w_ii = 1 - the rest of row i.

    Args:
        adjacent: boolean, symmetric, `(num_nodes, num_nodes)`; the diagonal is not read.
    """
    adjacent = adjacent & ~np.eye(len(adjacent), dtype=bool)
    degrees = adjacent.sum(axis=1)
    weights = adjacent / (1 + np.maximum.outer(degrees, degrees))
    return weights + np.diag(1 - weights.sum(axis=1))


def spectral_gap(mixing: np.ndarray) -> float:
    """Returns the spectral gap, 1 - the second largest modulus of the eigenvalues.

    It tells how fast averaging alone brings the nodes together: 1 at once (complete graph), 0 never
    (no connection).

    Args:
        mixing: a mixing matrix.
    """
    moduli = np.sort(abs(np.linalg.eigvals(np.asarray(mixing, np.float64))))
    return float(1 - moduli[-2]) if len(moduli) > 1 else 1.0


def neighbors(mixing: np.ndarray) -> list[list[int]]:
    """Returns, for each node, the other nodes to which it gives a weight."""
    return [[int(j) for j in np.flatnonzero(row) if j != i] for i, row in enumerate(mixing)]


def bytes_sent(mixing: np.ndarray, parameter_bytes: float) -> float:
    """Returns the bytes that the node with the most neighbors sends per update.

    It sends its parameters to each neighbor.

    Args:
        mixing: a mixing matrix.
        parameter_bytes: size of everything that one node exchanges.
    """
    return max(map(len, neighbors(mixing))) * parameter_bytes


def all_reduce_bytes_sent(num_nodes: int, parameter_bytes: float) -> float:
    """Returns what a node sends in a ring all-reduce: 2 (num_nodes - 1) / num_nodes of the size."""
    return 2 * (num_nodes - 1) / num_nodes * parameter_bytes


def _circulant(num_nodes: int, hops) -> np.ndarray:
    _check_nodes(num_nodes)
    distance = np.subtract.outer(np.arange(num_nodes), np.arange(num_nodes))
    adjacent = np.zeros((num_nodes, num_nodes), bool)
    for hop in hops:
        adjacent |= (distance - hop) % num_nodes == 0
        adjacent |= (distance + hop) % num_nodes == 0
    return metropolis_hastings(adjacent)


def _check_nodes(num_nodes: int) -> None:
    checks.integer("num_nodes", num_nodes, minimum=1)
