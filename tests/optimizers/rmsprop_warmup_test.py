"""RMSpropWarmup: comparison with the NumPy restatement, both ends, and error messages."""

import math

import keras
import numpy as np
import pytest

from lbkeras.errors import UserError
from lbkeras.optimizers import RMSpropWarmup
from tests.optimizers import restatements

VARIANTS = [
    {},
    {"momentum": 0.0},
    {"rho": 0.5, "epsilon": 0.1},
    {"rmsprop_learning_rate": 0.01},
    {"transition_center_steps": 0},
    {"transition_period_steps": 40},
]


@pytest.mark.parametrize("variant", VARIANTS, ids=str)
def test_twenty_steps_with_increasing_learning_rate(
    variant, problem, run_optimizer, relative_difference
):
    """The transition is within the steps: exponential to 8, linear to 11, then only SGD."""
    given = {"transition_center_steps": 8, "transition_period_steps": 6, **variant}
    ours = run_optimizer(RMSpropWarmup(0.1, **given), *problem)
    expected = restatements.trajectory(restatements.rmsprop_warmup, *problem[1:], **given)
    assert relative_difference(ours, expected) < 1e-6


def test_the_share_of_sgd_is_continuous_with_a_continuous_slope():
    """1/2 at the center, with slope 1 / period on both sides, and 1 half a period later."""
    center, period, h = 10.0, 5.0, 1e-6
    share = restatements.alpha_sgd
    assert share(center, center, period) == 0.5
    assert share(center + period / 2, center, period) == 1.0
    assert math.isclose(share(center + period / 2 - h, center, period), 1.0, rel_tol=1e-6)
    before = (share(center, center, period) - share(center - h, center, period)) / h
    after = (share(center + h, center, period) - share(center, center, period)) / h
    assert math.isclose(before, 1 / period, rel_tol=1e-5)
    assert math.isclose(after, 1 / period, rel_tol=1e-5)


def test_after_the_transition_it_is_sgd_with_momentum(problem, run_optimizer, relative_difference):
    names, weights, gradients, _ = problem
    rates = [0.1] * len(gradients)
    optimizer = RMSpropWarmup(0.1, transition_center_steps=0, transition_period_steps=1e-3)
    theirs = keras.optimizers.SGD(0.1, momentum=0.9)
    nothing = [0 * g for g in gradients[0]]  # update 0 is at the center, the others are past it
    ours = run_optimizer(optimizer, names, weights, [nothing, *gradients], [0.1, *rates])
    theirs = run_optimizer(theirs, names, weights, gradients, rates)
    assert relative_difference(ours, theirs) < 2e-6


def test_a_learning_rate_of_0_stays_finite(problem, run_optimizer):
    """A warm-up that starts at 0 must not divide by it."""
    names, weights, gradients, rates = problem
    optimizer = RMSpropWarmup(0.1, transition_center_steps=8, transition_period_steps=6)
    ours = run_optimizer(optimizer, names, weights, gradients, [0.0, *rates[1:]])
    assert all(np.all(np.isfinite(weight)) for weight in ours)


@pytest.mark.parametrize(
    "name, value",
    [
        ("momentum", 1.0),
        ("rho", -0.1),
        ("rho", 1.0),
        ("epsilon", -1e-8),
        ("rmsprop_learning_rate", -3e-4),
        ("transition_period_steps", 0),
        ("transition_period_steps", -5),
        ("transition_center_steps", math.nan),
    ],
)
def test_messages(name, value):
    given = {"transition_center_steps": 10, "transition_period_steps": 5, name: value}
    with pytest.raises(UserError, match=f"^{name}: expected .*, received ") as caught:
        RMSpropWarmup(0.1, **given)
    assert repr(value) in str(caught.value) and "\n" not in str(caught.value)
