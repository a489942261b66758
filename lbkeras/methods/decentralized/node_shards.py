"""Which node of a decentralized training owns which examples, in NumPy alone."""

import numpy as np
from numpy.typing import ArrayLike

from lbkeras import checks
from lbkeras.errors import UserError


def shard_by_label(
    labels: ArrayLike, num_nodes: int, concentration: float | None = None, seed: int = 0
) -> np.ndarray:
    """Divides examples between nodes, at random or so that each node has labels of its own.

    With a concentration the shares of the labels in each node are drawn from a Dirichlet
    distribution with that parameter for every label: 0.1 leaves a node with one or two labels,
    100 is nearly the same as None. The examples a node still wants when its label has run out come
    from what is left over.

    Args:
        labels: integers, one an example.
        num_nodes: at least 1, at most the number of examples.
        concentration: of the Dirichlet distribution, above 0; None: at random.
        seed: integer that draws the parts; the same arguments give the same parts.

    Returns:
        int32, `(num_nodes, len(labels) // num_nodes)`: the rows of each node; the examples left
        over, fewer than `num_nodes`, belong to none.

    Raises:
        UserError: an argument is out of its range.

    Reference: Hsu, Qi, Brown, arXiv 1909.06335, section 3, with parts of equal size.

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
