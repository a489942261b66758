"""The steps that the optimizers' tests do, as fixtures; `restatements` and others by import."""

import numpy as np
import pytest

from tests.optimizers import problem as problems


@pytest.fixture(scope="session")
def problem():
    """`(names, weights, gradients, learning rates)`: 20 steps with a growing learning rate."""
    return problems.make_problem()


@pytest.fixture(scope="session")
def run_optimizer():
    """A function: the weights after an optimizer's steps on given gradients."""
    return problems.run


@pytest.fixture(scope="session")
def make_variables():
    """A function: Keras variables with the given paths and values."""
    return problems.make_variables


@pytest.fixture(scope="session")
def relative_difference():
    """A function: the largest of `|a - b| / |b|` over pairs of tensors, norms over each tensor."""

    def difference(ours, expected):
        return max(
            np.linalg.norm(np.subtract(a, b, dtype=np.float64)) / max(np.linalg.norm(b), 1e-30)
            for a, b in zip(ours, expected, strict=True)
        )

    return difference
