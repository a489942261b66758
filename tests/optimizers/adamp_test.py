"""AdamP: comparison with the NumPy restatement, the projection, and error messages."""

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lbkeras.errors import UserError
from lbkeras.optimizers import AdamP
from tests.optimizers import projection_cases, restatements

VARIANTS = [
    {},
    {"weight_decay": 0.1},
    {"weight_decay": 0.1, "nesterov": True},
    {"weight_decay": 0.1, "weight_decay_ratio": 1.0, "delta": 0.2},
    {"weight_decay": 0.1, "delta": 0.0},
    {"epsilon": 0.1, "beta_1": 0.5, "beta_2": 0.9},
]


@pytest.mark.parametrize("variant", VARIANTS, ids=str)
def test_steps_of_each_kind_with_increasing_learning_rate(
    variant, run_optimizer, relative_difference
):
    *case, expected = projection_cases.make_case(restatements.adamp, **variant)
    ours = run_optimizer(AdamP(0.1, **variant), *case)
    assert relative_difference(ours, expected) < 1e-6


def test_the_gradients_of_each_kind_are_projected_as_intended():
    generator = np.random.default_rng(0)
    for shape in ((6, 4), (3, 3, 2, 4)):
        w, p = generator.standard_normal((2, *shape))
        results = []
        for kind in projection_cases.KINDS:
            g = projection_cases.gradient_for(w, kind, generator).astype(np.float64)
            results.append(restatements.project(w, g, p))
        assert [projected for _, projected in results] == [True, True, False]
        by_channel = np.sum(w * results[0][0], axis=tuple(range(w.ndim - 1)))
        assert np.max(np.abs(by_channel)) < 1e-6
        assert abs(np.sum(w * results[1][0])) < 1e-6
        assert np.max(np.abs(np.sum(w * results[1][0], axis=0))) > 1e-2


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from([(8, 3), (3, 3, 2, 4)]), st.booleans())
def test_a_projected_step_is_orthogonal_to_each_channel(seed, shape, nesterov):
    generator = np.random.default_rng(seed)
    weight = generator.standard_normal(shape).astype(np.float32)
    gradient = projection_cases.gradient_for(weight.astype(np.float64), "channel", generator)
    variable = keras.Variable(weight, name="kernel")
    optimizer = AdamP(0.1, nesterov=nesterov)
    optimizer.build([variable])
    optimizer.apply([keras.ops.convert_to_tensor(gradient)])
    change = keras.ops.convert_to_numpy(variable).astype(np.float64) - weight
    axes = tuple(range(len(shape) - 1))
    inner = np.abs(np.sum(change * weight, axis=axes))
    lengths = np.sqrt(
        np.sum(change**2, axis=axes) * np.sum(weight.astype(np.float64) ** 2, axis=axes)
    )
    assert np.all(inner <= 5e-6 * lengths)


def test_without_projection_it_is_adamw(run_optimizer, problem, relative_difference):
    """delta = 0 never projects, and Keras' AdamW also decays before its step. With these betas,
    Keras' bias correction `1 - beta^t` is exact in float32."""
    given = dict(weight_decay=0.1, beta_1=0.5, beta_2=0.75, epsilon=1e-8)
    theirs = run_optimizer(keras.optimizers.AdamW(0.1, **given), *problem)
    ours = run_optimizer(AdamP(0.1, delta=0.0, **given), *problem)
    assert relative_difference(ours, theirs) < 2e-6


def test_vectors_are_never_projected_but_decayed(run_optimizer, relative_difference):
    weight, gradient = np.array([1.0, 0.0], np.float32), np.array([0.0, 1.0], np.float32)
    ours = run_optimizer(AdamP(0.1, weight_decay=0.5), ["gamma"], [weight], [[gradient]], [0.1])
    np.testing.assert_allclose(ours[0], [0.95, -0.1], rtol=1e-6)


@pytest.mark.parametrize(
    "name, value",
    [
        ("beta_1", 1.0),
        ("beta_2", -0.1),
        ("epsilon", -1e-8),
        ("weight_decay", -0.1),
        ("delta", -0.1),
        ("weight_decay_ratio", -1.0),
    ],
)
def test_messages(name, value):
    with pytest.raises(UserError, match=f"^{name}: expected .*, received ") as caught:
        AdamP(0.1, **{name: value})
    assert repr(value) in str(caught.value) and "\n" not in str(caught.value)
