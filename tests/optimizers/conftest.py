"""Fixtures for the steps of the optimizers' tests; other helpers are imported."""

import numpy as np
import pytest

from tests.optimizers import problem as problems


@pytest.fixture(scope="session")
def problem():
    """`(names, weights, gradients, learning_rates)` of 20 steps with increasing learning rate."""
    return problems.make_problem()


@pytest.fixture(scope="session")
def run_optimizer():
    """A function that returns the weights after an optimizer's steps on given gradients."""
    return problems.run


@pytest.fixture(scope="session")
def make_variables():
    """A function that creates Keras variables with the given paths and values."""
    return problems.make_variables


@pytest.fixture(scope="session")
def relative_difference():
    """A function that returns the largest `|a - b| / |b|` over pairs of tensors."""

    def difference(ours, expected):
        return max(
            np.linalg.norm(np.subtract(a, b, dtype=np.float64)) / max(np.linalg.norm(b), 1e-30)
            for a, b in zip(ours, expected, strict=True)
        )

    return difference
