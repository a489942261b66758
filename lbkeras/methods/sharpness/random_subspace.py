"""A few random directions in the space of all weights."""

import functools
from collections.abc import Iterator

import numpy as np

from lbkeras.errors import UserError

_ROWS = 2**16  # of a block
_MOST_STORED = 2**30  # bytes


class RandomSubspace:
    """The columns of a random matrix A of shape (size, dimensions), and products with it.

    Entries are independent standard normal numbers, so all subspaces are equally likely. A step of
    1 in one coordinate moves each weight by about 1, in all of them by about sqrt(dimensions), so
    that a box in the subspace reaches beyond the same box around the weights.

    A is made of blocks of rows, each a pure function of (seed, block), as float32. Up to 1 GiB they
    are kept (2.7 million weights in 100 dimensions); of a larger A each product makes them anew,
    which takes about 2 s for 100 million entries.

    Args:
        size: rows: the number of weights.
        dimensions: columns, 1 to `size`.
        seed: integer that determines A.

    Raises:
        UserError: `dimensions` out of range.

    >>> subspace = RandomSubspace(size=1000, dimensions=3, seed=0)
    >>> subspace.coordinates(subspace.expand(np.array([1.0, 2.0, 3.0]))).round(9).tolist()
    [1.0, 2.0, 3.0]
    """

    def __init__(self, size: int, dimensions: int, seed: int = 0):
        if not 1 <= dimensions <= size:
            raise UserError(
                f"dimensions: expected 1 to {size} (the number of weights), received {dimensions!r}"
            )
        self.size, self.dimensions, self.seed = int(size), int(dimensions), int(seed)
        small = 4 * self.size * self.dimensions <= _MOST_STORED
        self._stored = list(self._make_blocks()) if small else None

    def expand(self, z: np.ndarray) -> np.ndarray:
        """A z, from (dimensions,) to (size,), float64."""
        return np.concatenate([block @ z for block in self._blocks()])

    def project(self, y: np.ndarray) -> np.ndarray:
        """A' y, from (size,) to (dimensions,), float64: a gradient's part in the coordinates."""
        total, row = np.zeros(self.dimensions), 0
        for block in self._blocks():
            total += y[row : row + len(block)] @ block
            row += len(block)
        return total

    def coordinates(self, x: np.ndarray) -> np.ndarray:
        """A+ x, A+ the pseudo-inverse: the coordinates of the point of the subspace nearest to x.

        From the normal equations, (A'A) z = A'x; A is well conditioned where it has far more rows
        than columns.
        """
        return np.linalg.solve(self._gram, self.project(x))

    @functools.cached_property
    def _gram(self) -> np.ndarray:
        return sum(block.T @ block for block in self._blocks())

    def _blocks(self) -> Iterator[np.ndarray]:
        for block in self._make_blocks() if self._stored is None else self._stored:
            yield block.astype(np.float64)

    def _make_blocks(self) -> Iterator[np.ndarray]:
        for number, row in enumerate(range(0, self.size, _ROWS)):
            rows = min(_ROWS, self.size - row)
            generator = np.random.default_rng([self.seed, number])
            yield generator.standard_normal((rows, self.dimensions), dtype=np.float32)
