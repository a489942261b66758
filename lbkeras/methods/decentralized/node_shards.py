"""Assigns examples to the nodes of decentralized training, in pure NumPy."""

import numpy as np
from numpy.typing import ArrayLike

from lbkeras import checks
from lbkeras.errors import UserError


def shard_by_label(
    labels: ArrayLike, num_nodes: int, concentration: float | None = None, seed: int = 0
) -> np.ndarray:
    """Divides examples among nodes, at random or with different label shares on each node.

    With a concentration, each node's label shares are drawn from a Dirichlet distribution with that
    parameter for every label. Smaller values mean fewer labels per node: 0.1 leaves a node with one
    or two, 100 is nearly the same as None. If a label runs out, nodes that still need it get
    leftover examples instead.

    Args:
        labels: one integer per example.
        num_nodes: at least 1, at most the number of examples.
        concentration: of the Dirichlet distribution, above 0; None divides at random.
        seed: integer from which the parts are drawn; the same arguments give the same parts.

    Returns:
        int32, `(num_nodes, len(labels) // num_nodes)`: the rows of each node. The remaining
        examples, fewer than `num_nodes`, belong to no node.

    Raises:
        UserError: an argument is out of range.

    Reference: Hsu, Qi, Brown, arXiv:1909.06335, section 3, with parts of equal size.

    >>> shard_by_label([0, 1] * 50, num_nodes=4).shape
    (4, 25)
    """
    labels = np.asarray(labels)
    nodes = checks.as_integer(num_nodes)
    if nodes is None or not 1 <= nodes <= len(labels):
        raise UserError(
            f"num_nodes: expected 1 to {len(labels)} (examples), received {num_nodes!r}"
        )
    if concentration is not None and not concentration > 0:
        raise UserError(
            f"concentration: expected a number above 0 or none, received {concentration!r}"
        )
    generator = np.random.default_rng(seed)
    order = generator.permutation(len(labels)).astype(np.int32)
    size = len(labels) // num_nodes
    order = order[: size * num_nodes]
    if concentration is None:
        return order.reshape(num_nodes, size)
    classes, labels = np.unique(labels[order], return_inverse=True)
    left = [list(order[labels == label]) for label in range(len(classes))]
    shares = generator.dirichlet([concentration] * len(classes), num_nodes)
    parts = [[] for _ in range(num_nodes)]
    for part, share in zip(parts, shares, strict=True):
        wanted = generator.multinomial(size, share)
        for rows, number in zip(left, wanted, strict=True):
            part += [rows.pop() for _ in range(min(number, len(rows)))]
    rest = generator.permutation([row for rows in left for row in rows]).astype(np.int32).tolist()
    for part in parts:
        part += [rest.pop() for _ in range(size - len(part))]
    return np.array(parts, np.int32)
