"""Detects random numbers that a traced function would draw only once, for all batches."""

import contextlib
import random
from collections.abc import Iterator

import numpy as np

from lbkeras.errors import UserError


@contextlib.contextmanager
def refuse_frozen_draws() -> Iterator[None]:
    """Refuses a user's `augment` that draws from NumPy's or Python's generator while it is traced.

    Such a number becomes a constant of the graph, the same in each batch.

    Raises:
        UserError: it draws from one of them.
    """
    before = _states()
    yield
    for name, state in _states().items():
        if state != before[name]:
            raise UserError(
                f"augment: expected random numbers made from seed, received a function that draws "
                f"from {name}'s generator, which would happen only once for all batches"
            )


def _states() -> dict[str, object]:
    _, keys, place, *rest = np.random.get_state()  # noqa: NPY002
    return {"NumPy": (np.asarray(keys).tobytes(), place, *rest), "Python": random.getstate()}
