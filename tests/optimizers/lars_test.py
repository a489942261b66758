"""LARS: comparison with the NumPy restatement, invariances, exclusions and error messages."""

import math

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lbkeras.errors import UserError
from lbkeras.optimizers import LARS
from tests.optimizers import restatements

VARIANTS = [
    {},
    {"nesterov": True},
    {"norm": "joint"},
    {"norm": "joint", "nesterov": True},
    {"learning_rate_in_momentum": False},
    {"learning_rate_in_momentum": False, "nesterov": True},
    {"learning_rate_in_momentum": False, "clip": True},
    {"learning_rate_in_momentum": False, "clip": True, "norm": "joint"},
    {"clip": True},
    {"clip": True, "nesterov": True},
    {"epsilon": 0.1},
    {"epsilon": 0.1, "norm": "joint"},
    {"momentum": 0.0},
    {"weight_decay": 0.0},
]


def tag(variant):
    return ",".join(f"{key}={value}" for key, value in variant.items()) or "default"


@pytest.mark.parametrize("variant", VARIANTS, ids=tag)
def test_twenty_steps_with_increasing_learning_rate(
    variant, problem, run_optimizer, relative_difference
):
    given = {"weight_decay": 0.01, "trust_coefficient": 0.05, **variant}
    ours = run_optimizer(LARS(0.1, **given), *problem)
    expected = restatements.trajectory(restatements.lars, *problem[1:], **given)
    assert relative_difference(ours, expected) < 1e-6


def test_variants_differ_if_the_learning_rate_increases(
    problem, run_optimizer, relative_difference
):
    given = {"weight_decay": 0.01, "trust_coefficient": 0.05}
    separate = run_optimizer(LARS(0.1, **given), *problem)
    for variant in ({"norm": "joint"}, {"learning_rate_in_momentum": False}, {"nesterov": True}):
        other = run_optimizer(LARS(0.1, **given, **variant), *problem)
        assert relative_difference(other, separate) > 1e-3, variant


def test_a_constant_learning_rate_inside_and_outside_momentum_agrees(
    problem, run_optimizer, relative_difference
):
    names, weights, gradients, _ = problem
    rates = [0.25] * len(gradients)
    inside = run_optimizer(LARS(0.25), names, weights, gradients, rates)
    outside = LARS(0.25, learning_rate_in_momentum=False)
    outside = run_optimizer(outside, names, weights, gradients, rates)
    assert relative_difference(outside, inside) < 1e-6


matrices = st.integers(0, 2**32 - 1).map(
    lambda seed: np.random.default_rng(seed).standard_normal((2, 4, 3)).astype(np.float32)
)


def one_step(optimizer, weight, gradient):
    """Returns the change of one kernel in one step, in float64."""
    variable = keras.Variable(weight, name="kernel")
    optimizer.build([variable])
    optimizer.apply([keras.ops.convert_to_tensor(gradient)], [variable])
    after = keras.ops.convert_to_numpy(variable).astype(np.float64)
    return weight.astype(np.float64) - after


@settings(max_examples=25, deadline=None)
@given(matrices, st.floats(-15, 15), st.sampled_from(["separate", "joint"]))
def test_the_step_norm_is_learning_rate_times_trust_times_weight_norm(pair, exponent, norm):
    """Holds as long as float32 can represent the square of the gradient's norm."""
    weight, gradient = pair
    gradient = gradient * np.float32(10.0**exponent / np.linalg.norm(gradient))
    change = one_step(LARS(0.5, trust_coefficient=0.1, norm=norm), weight, gradient)
    expected = 0.5 * 0.1 * np.linalg.norm(weight.astype(np.float64))
    # rounding to float32 changes the new weight by 6e-8, and the step is a twentieth of the weight
    assert math.isclose(np.linalg.norm(change), expected, rel_tol=5e-6)


@settings(max_examples=25, deadline=None)
@given(matrices, st.floats(-3, 3), st.floats(1e-3, 1.0))
def test_weight_decay_alone_never_lengthens_a_step(pair, exponent, weight_decay):
    weight, gradient = pair
    gradient = gradient * np.float32(10.0**exponent)
    optimizer = LARS(0.5, trust_coefficient=0.1, weight_decay=weight_decay)
    change = one_step(optimizer, weight, gradient)
    longest = 0.5 * 0.1 * np.linalg.norm(weight.astype(np.float64))
    assert np.linalg.norm(change) <= longest * (1 + 5e-6)


@settings(max_examples=25, deadline=None)
@given(matrices, st.floats(-3, 3), st.floats(1e-3, 0.9))
def test_a_clipped_rate_never_exceeds_the_plain_one(pair, exponent, learning_rate):
    """LARC: the layer's learning rate is min(trust |w| / |g|, learning rate)."""
    weight, gradient = pair
    gradient = gradient * np.float32(10.0**exponent)
    change = one_step(LARS(learning_rate, trust_coefficient=0.1, clip=True), weight, gradient)
    own = 0.1 * np.linalg.norm(weight.astype(np.float64)) / np.linalg.norm(gradient)
    rate = np.linalg.norm(change) / np.linalg.norm(gradient)
    rounding = 1e-7 * float(np.linalg.norm(weight) / np.linalg.norm(gradient))
    assert rate <= learning_rate * (1 + 1e-6) + rounding
    assert rate == pytest.approx(min(own, learning_rate), rel=1e-5, abs=rounding)


@pytest.mark.parametrize("learning_rate", [1e-2, 1e-4, 1e-6, 1e-8])
@pytest.mark.parametrize("own", [0.5, 2.0])
def test_clipping_works_for_small_learning_rates(learning_rate, own):
    """LARC's factor is min(trust |w| / |g| / learning rate, 1), even early in a warm-up."""
    weight = np.full((3, 2), 2.0, np.float32)
    gradient = weight * np.float32(0.1 / (own * learning_rate))  # trust |w| / |g| = own x rate
    optimizer = LARS(learning_rate, trust_coefficient=0.1, clip=True)
    change = one_step(optimizer, weight, gradient)
    assert list(optimizer.trust_ratios().values()) == pytest.approx([min(own, 1)], rel=1e-5)
    np.testing.assert_allclose(change, learning_rate * min(own, 1) * gradient, rtol=1e-5)


@pytest.mark.parametrize("norm", ["separate", "joint"])
@pytest.mark.parametrize("zero", ["weight", "gradient"])
def test_the_trust_ratio_is_1_if_a_norm_is_0(zero, norm):
    weight = np.full((3, 2), 0.0 if zero == "weight" else 2.0, np.float32)
    gradient = np.full((3, 2), 0.0 if zero == "gradient" else 0.5, np.float32)
    # joint: the decayed weight keeps the norm of g + weight_decay * w above 0
    weight_decay = 0.25 if norm == "separate" or zero == "weight" else 0.0
    optimizer = LARS(0.5, weight_decay=weight_decay, norm=norm)
    change = one_step(optimizer, weight, gradient)
    np.testing.assert_allclose(change, 0.5 * (gradient + weight_decay * weight), rtol=1e-6)
    assert list(optimizer.trust_ratios().values()) == [1.0]


def test_trust_ratios_are_those_of_the_last_step(problem, run_optimizer):
    names, weights, gradients, rates = problem
    optimizer = LARS(0.1, weight_decay=0.01)
    before = run_optimizer(LARS(0.1, weight_decay=0.01), names, weights, gradients[:2], rates[:2])
    run_optimizer(optimizer, names, weights, gradients[:3], rates[:3])
    expected = {
        name: restatements.lars_ratio(w, g, weight_decay=0.01)
        for name, w, g in zip(names, before, gradients[2], strict=True)
        if w.ndim > 1
    }
    ratios = optimizer.trust_ratios()
    assert all(isinstance(ratio, float) for ratio in ratios.values())
    assert ratios == pytest.approx(expected, rel=1e-6)


def excluded(optimizer, problem, run_optimizer, relative_difference, settings_of):
    """Whether twenty steps equal the restatement with each tensor's settings."""
    given = {"weight_decay": 0.01, "trust_coefficient": 0.05}
    ours = run_optimizer(optimizer, *problem)
    expected = restatements.trajectory(
        restatements.lars, *problem[1:], settings_of=settings_of, **given
    )
    return relative_difference(ours, expected) < 1e-6


def make():
    return LARS(0.1, weight_decay=0.01, trust_coefficient=0.05)


def test_exclusion_by_pattern_adds_to_the_rank_rule(problem, run_optimizer, relative_difference):
    optimizer = make()
    optimizer.exclude_from_layer_adaptation(var_names=["^dense/"])

    def settings_of(i):
        return {"adapt": False} if problem[0][i] == "dense/kernel" else {}

    assert excluded(optimizer, problem, run_optimizer, relative_difference, settings_of)
    assert list(optimizer.trust_ratios()) == ["conv/kernel"]


def test_exclusion_from_decay_by_pattern(problem, run_optimizer, relative_difference):
    optimizer = make()
    optimizer.exclude_from_weight_decay(var_names=["conv"])

    def settings_of(i):
        return {"decay": False} if problem[0][i] == "conv/kernel" else {}

    assert excluded(optimizer, problem, run_optimizer, relative_difference, settings_of)


def test_exclusion_by_variable(problem, relative_difference):
    weights = [problem[1][0], problem[1][1]]
    variables = [keras.Variable(w, name=f"kernel_{i}") for i, w in enumerate(weights)]
    optimizer = make()
    optimizer.exclude_from_layer_adaptation(var_list=variables[:1])
    optimizer.exclude_from_weight_decay(var_list=variables[1:])
    optimizer.build(variables)
    for gradients in problem[2]:
        optimizer.apply([keras.ops.convert_to_tensor(g) for g in gradients[:2]], variables)
    expected = restatements.trajectory(
        restatements.lars,
        weights,
        problem[2],
        [0.1] * len(problem[2]),
        settings_of=lambda i: {"adapt": i == 1, "decay": i == 0},
        weight_decay=0.01,
        trust_coefficient=0.05,
    )
    ours = [keras.ops.convert_to_numpy(variable) for variable in variables]
    assert relative_difference(ours, expected) < 1e-6


@pytest.mark.parametrize("empty", [{}, {"var_names": []}, {"var_list": [], "var_names": []}])
def test_an_empty_call_removes_all_exclusions(empty, problem, run_optimizer, relative_difference):
    optimizer = make()
    optimizer.exclude_from_layer_adaptation(var_names=["dense"])
    optimizer.exclude_from_layer_adaptation(**empty)
    optimizer.exclude_from_weight_decay(**empty)

    def settings_of(i):
        return {"adapt": True, "decay": True}

    assert excluded(optimizer, problem, run_optimizer, relative_difference, settings_of)
    assert list(optimizer.trust_ratios()) == problem[0]


def test_a_pattern_that_matches_nothing():
    optimizer = make()
    optimizer.exclude_from_layer_adaptation(var_names=["kernal"])
    with pytest.raises(
        UserError, match="^exclude_from_layer_.*: expected .*, received 'kernal'"
    ) as caught:
        optimizer.build([keras.Variable(np.ones((2, 2), np.float32), name="kernel")])
    assert "\n" not in str(caught.value)


def test_exclusions_survive_the_config(problem, run_optimizer, relative_difference):
    optimizer = make()
    optimizer.exclude_from_layer_adaptation(var_names=["dense"])
    optimizer.exclude_from_weight_decay(var_names=["conv"])
    restored = LARS.from_config(optimizer.get_config())
    first, second = run_optimizer(optimizer, *problem), run_optimizer(restored, *problem)
    assert relative_difference(second, first) == 0
    assert list(restored.trust_ratios()) == ["conv/kernel"]


def test_excluded_variables_survive_the_config(problem, make_variables):
    variables = make_variables(*problem[:2])
    optimizer = make()
    optimizer.exclude_from_layer_adaptation(var_list=variables[:1])
    optimizer.exclude_from_weight_decay(var_list=variables[1:2])
    optimizer.build(variables)
    restored = LARS.from_config(optimizer.get_config())
    again = make_variables(*problem[:2])
    restored.build(again)
    for one, its in ((optimizer, variables), (restored, again)):
        one.apply([keras.ops.convert_to_tensor(g) for g in problem[2][0]], its)
        assert list(one.trust_ratios()) == ["conv/kernel"]
    for ours, expected in zip(again, variables, strict=True):
        np.testing.assert_array_equal(ours.numpy(), expected.numpy())


@pytest.mark.parametrize(
    "name, value",
    [
        ("momentum", 1.0),
        ("momentum", -0.1),
        ("weight_decay", -1e-4),
        ("trust_coefficient", 0.0),
        ("trust_coefficient", -0.001),
        ("trust_coefficient", math.nan),
        ("epsilon", -1e-8),
        ("norm", "foo"),
    ],
)
def test_messages(name, value):
    with pytest.raises(UserError, match=f"^{name}: expected .*, received ") as caught:
        LARS(0.1, **{name: value})
    assert repr(value) in str(caught.value) and "\n" not in str(caught.value)
