"""A few random directions in the space of all weights."""

import functools
from collections.abc import Iterator

import numpy as np

from lbkeras.errors import UserError

_ROWS = 2**16  # per block
_MOST_STORED = 2**30  # bytes


class RandomSubspace:
    """The column space of a random matrix A of shape (size, dimensions), and products with A.

    The entries of A are independent and standard normal, so all subspaces are equally likely. A
    step of 1 in one coordinate moves each weight by about 1, a step of 1 in all coordinates by
    about sqrt(dimensions). So a box in the subspace extends beyond the same box around the weights.

    A consists of float32 blocks of rows; each block is a pure function of (seed, block number). An
    A of up to 1 GiB is kept in memory (2.7 million weights in 100 dimensions). The blocks of a
    larger A are generated again for each product, which takes about 2 s for 100 million entries.

    Args:
        size: number of rows, which is the number of weights.
        dimensions: number of columns, 1 to `size`.
        seed: integer that determines A.

    Raises:
        UserError: `dimensions` is out of range.

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
        """Returns A z: (dimensions,) to (size,), float64."""
        return np.concatenate([block @ z for block in self._blocks()])

    def project(self, y: np.ndarray) -> np.ndarray:
        """Returns A' y, for example a gradient in the coordinates: (size,) to (dimensions,)."""
        total, row = np.zeros(self.dimensions), 0
        for block in self._blocks():
            total += y[row : row + len(block)] @ block
            row += len(block)
        return total

    def coordinates(self, x: np.ndarray) -> np.ndarray:
        """Returns A+ x, the coordinates of the point in the subspace that is nearest to x.

        A+ is the pseudo-inverse. The coordinates are solved from the normal equations,
        (A'A) z = A'x. A is well conditioned if it has far more rows than columns.
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
