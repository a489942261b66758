"""Fixtures shared with the other optimizers' tests."""

from tests.optimizers.conftest import (  # noqa: F401
    make_variables,
    problem,
    relative_difference,
    run_optimizer,
)
