"""LAMB: comparison with a NumPy implementation, invariances, exclusions and error messages."""

import math

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lbkeras.errors import UserError
from lbkeras.optimizers import LAMB
from tests.optimizers import restatements

VARIANTS = [
    {},
    {"weight_decay": 0.1},
    {"weight_decay": 0.1, "epsilon": 0.1},
    {"beta_1": 0.0, "beta_2": 0.5},
    {"beta_1": 0.95, "beta_2": 0.98, "weight_decay": 0.01},
]


@pytest.mark.parametrize("variant", VARIANTS, ids=str)
def test_twenty_steps_with_increasing_learning_rate(
    variant, problem, run_optimizer, relative_difference
):
    ours = run_optimizer(LAMB(0.1, **variant), *problem)
    expected = restatements.trajectory(restatements.lamb, *problem[1:], **variant)
    assert relative_difference(ours, expected) < 1e-6


def test_defaults():
    config = LAMB().get_config()
    expected = dict(learning_rate=0.001, beta_1=0.9, beta_2=0.999, epsilon=1e-6, weight_decay=0.0)
    assert {key: config[key] for key in expected} == pytest.approx(expected)


def test_decay_is_inside_the_ratio(problem, run_optimizer, relative_difference):
    """Keras' Lamb applies weight decay outside the trust ratio (keras#19981), so the two differ."""
    names, weights, gradients, rates = problem
    names, weights = names[:2], weights[:2]  # the kernels
    gradients = [step[:2] for step in gradients]
    theirs = keras.optimizers.Lamb(0.1, epsilon=1e-6)
    theirs = run_optimizer(theirs, names, weights, gradients, rates)
    ours = run_optimizer(LAMB(0.1), names, weights, gradients, rates)
    assert relative_difference(ours, theirs) < 2e-6
    theirs = keras.optimizers.Lamb(0.1, epsilon=1e-6, weight_decay=0.1)
    theirs = run_optimizer(theirs, names, weights, gradients, rates)
    ours = run_optimizer(LAMB(0.1, weight_decay=0.1), names, weights, gradients, rates)
    assert relative_difference(ours, theirs) > 1e-2


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32 - 1), st.floats(0, 1), st.floats(-3, 10))
def test_the_step_norm_is_learning_rate_times_weight_norm(seed, weight_decay, exponent):
    weight, gradient = np.random.default_rng(seed).standard_normal((2, 4, 3)).astype(np.float32)
    variable = keras.Variable(weight, name="kernel")
    optimizer = LAMB(0.1, weight_decay=weight_decay)
    optimizer.build([variable])
    optimizer.apply([keras.ops.convert_to_tensor(gradient * np.float32(10.0**exponent))])
    change = weight.astype(np.float64) - keras.ops.convert_to_numpy(variable)
    expected = 0.1 * np.linalg.norm(weight.astype(np.float64))
    assert math.isclose(np.linalg.norm(change), expected, rel_tol=5e-6)


@pytest.mark.parametrize("zero", ["weight", "gradient"])
def test_the_trust_ratio_is_1_if_a_norm_is_0(zero):
    weight = np.full((3, 2), 0.0 if zero == "weight" else 2.0, np.float32)
    gradient = np.full((3, 2), 0.0 if zero == "gradient" else 0.5, np.float32)
    variable = keras.Variable(weight, name="kernel")
    optimizer = LAMB(0.5)
    optimizer.build([variable])
    optimizer.apply([keras.ops.convert_to_tensor(gradient)])
    expected = weight - 0.5 * gradient / (gradient + 1e-6)
    np.testing.assert_allclose(keras.ops.convert_to_numpy(variable), expected, rtol=1e-6)
    assert list(optimizer.trust_ratios().values()) == [1.0]


def test_exclusions(problem, run_optimizer, relative_difference):
    optimizer = LAMB(0.1, weight_decay=0.1)
    optimizer.exclude_from_layer_adaptation(var_names=["^dense/"])
    optimizer.exclude_from_weight_decay(var_names=["conv/kernel"])
    ours = run_optimizer(optimizer, *problem)
    assert list(optimizer.trust_ratios()) == ["conv/kernel"]

    def settings_of(i):
        by_name = {"dense/kernel": {"adapt": False}, "conv/kernel": {"decay": False}}
        return by_name.get(problem[0][i], {})

    expected = restatements.trajectory(
        restatements.lamb, *problem[1:], settings_of=settings_of, weight_decay=0.1
    )
    assert relative_difference(ours, expected) < 1e-6

    restored = LAMB.from_config(optimizer.get_config())
    assert relative_difference(run_optimizer(restored, *problem), ours) == 0


def test_a_bare_call_removes_all_exclusions(problem, run_optimizer, relative_difference):
    optimizer = LAMB(0.1, weight_decay=0.1)
    optimizer.exclude_from_layer_adaptation()
    optimizer.exclude_from_weight_decay()
    ours = run_optimizer(optimizer, *problem)
    expected = restatements.trajectory(
        restatements.lamb, *problem[1:], weight_decay=0.1, adapt=True, decay=True
    )
    assert relative_difference(ours, expected) < 1e-6
    assert list(optimizer.trust_ratios()) == problem[0]


@pytest.mark.parametrize(
    "name, value",
    [
        ("beta_1", 1.0),
        ("beta_1", -0.1),
        ("beta_2", 1.5),
        ("epsilon", -1e-6),
        ("weight_decay", -0.1),
    ],
)
def test_invalid_arguments_are_refused(name, value):
    with pytest.raises(UserError, match=f"^{name}: expected .*, received ") as caught:
        LAMB(0.1, **{name: value})
    assert repr(value) in str(caught.value) and "\n" not in str(caught.value)
