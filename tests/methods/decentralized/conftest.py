"""The steps that the other optimizers' tests do too."""

from tests.optimizers.conftest import (  # noqa: F401
    make_variables,
    problem,
    relative_difference,
    run_optimizer,
)
