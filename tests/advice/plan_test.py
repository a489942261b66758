"""The recommended plan, computed from made-up bounds."""

import math

import numpy as np
import pytest

from lbkeras.advice.plan import MeasuredEpoch, advised_plan, measured_plan, scaled_in_stretches
from lbkeras.planning import Phase, Plan, cosine_plan, curve_plan, noise_scale_plan
from lbkeras.schedules import Curve, Segment, polynomial, steps, warm_up


def row(lower, upper=math.inf, variance=100.0, squared_norm=1.0):
    return MeasuredEpoch(10, lower, upper, variance, squared_norm, loss=1.0, seconds=1.0)


def constant(epochs=8, rate=0.1, batch_size=10, num_examples=1000):
    return Plan([Phase(0, epochs, batch_size, rate, 0.9)], num_examples)


def sizes(plan):
    return [plan.batch_size(epoch) for epoch in range(plan.epochs)]


def test_one_rung_per_epoch_up_to_the_last_lower_bound():
    plan = advised_plan(constant(), [row(20), row(85)])
    assert sizes(plan) == [10, 20, 40, 80, 80, 80, 80, 80]
    assert [phase.epochs for phase in plan.phases] == [1, 1, 1, 5]


def test_at_most_a_tenth_of_the_data():
    assert sizes(advised_plan(constant(), [row(20), row(1e6)])) == [10, 20, 40, 80, 80, 80, 80, 80]
    assert sizes(advised_plan(constant(num_examples=300), [row(20), row(1e6)])) == [10, *[20] * 7]


def test_the_learning_rate_has_the_gain_of_the_last_measurement_at_that_size():
    # tr = 100, |G|^2 = 1, base 10: (10 + 1) / (10 / k + 1); then tr = 300: (30 + 1) / (30 / k + 1)
    plan = advised_plan(constant(), [row(20), row(85, variance=300.0)])
    assert plan.learning_rate(0.5) == 0.1
    assert plan.learning_rate(1.5) == pytest.approx(0.1 * 11 / 6, rel=5e-3)
    assert plan.learning_rate(2.5) == pytest.approx(0.1 * 31 / (30 / 4 + 1), rel=5e-3)
    assert plan.learning_rate(7.5) == pytest.approx(0.1 * 31 / (30 / 8 + 1), rel=5e-3)


def test_the_power_of_the_gain():
    plan = advised_plan(constant(), [row(20), row(85)], gain_power=0.5)
    assert plan.learning_rate(1.5) == pytest.approx(0.1 * (11 / 6) ** 0.5, rel=5e-3)


def test_a_first_epoch_that_allows_four_times_the_size_starts_larger_with_a_warm_up():
    plan = advised_plan(constant(), [row(45), row(45)])
    assert sizes(plan) == [20, *[40] * 7]
    gain = 11 / 6
    assert [plan.learning_rate(e) for e in (0, 0.5)] == pytest.approx(
        [0.1, 0.1 * (1 + gain) / 2], rel=5e-3
    )
    assert plan.learning_rate(1) == pytest.approx(0.1 * 11 / (10 / 4 + 1), rel=5e-3)


def test_a_plan_with_its_own_warm_up_keeps_its_first_size():
    curve = warm_up(steps([0.1], [], 8), 2, initial=0.01)
    own = curve_plan(curve=curve, batch_size=10, momentum=0.9, num_examples=1000)
    plan = advised_plan(own, [row(45), row(45)])
    assert sizes(plan) == [10, 20, *[40] * 6]
    assert plan.learning_rate(0) == 0.01


@pytest.mark.parametrize("bounds", [(math.nan, math.nan), (3.0, math.inf), (3.0, 4.0)])
def test_unknown_or_too_small_bounds_keep_the_plan(bounds):
    own = cosine_plan(
        epochs=8, batch_size=10, learning_rate=1 / 3, momentum=0.9, num_examples=1000,
        final_learning_rate=0.0,
    )  # fmt: skip
    assert advised_plan(own, [row(*bounds), row(*bounds)]) == own


def test_the_plans_own_larger_batch_is_kept_with_its_rate():
    own = noise_scale_plan(
        strategy="increase_batch", epochs=8, boundaries=(4, 6), factor=4, learning_rate=0.1,
        momentum=0.9, batch_size=10, max_batch_size=160, num_examples=2000,
    )  # fmt: skip
    assert sizes(own) == [10] * 4 + [40] * 2 + [160] * 2
    plan = advised_plan(own, [row(20), row(85)])
    assert sizes(plan) == [10, 20, 40, 80, 80, 80, 160, 160]
    assert plan.learning_rate(7) == own.learning_rate(7)
    # in epoch 5 the own batch is 40: (100 / 40 + 1) / (100 / 80 + 1)
    assert plan.learning_rate(5) == pytest.approx(0.1 * 3.5 / 2.25, rel=5e-3)


def test_the_measured_plan_has_the_first_size_in_all_epochs():
    own = noise_scale_plan(
        strategy="increase_batch", epochs=8, boundaries=(4, 6), factor=4, learning_rate=0.1,
        momentum=0.9, batch_size=10, max_batch_size=40, num_examples=2000,
    )  # fmt: skip
    plan = measured_plan(own)
    assert set(sizes(plan)) == {10}
    assert [plan.learning_rate(e) for e in range(8)] == [own.learning_rate(e) for e in range(8)]


CURVES = {
    "steps": (steps([0.1, 0.02], [5], 12), 0.0),
    "linear": (Curve([Segment(0, 3.5, 0, 0.4, "linear"), Segment(3.5, 12, 0.4, 0.4)]), 0.0),
    "polynomial": (polynomial(0.4, 0.0, power=2, epochs=12), 0.4 * 2 / 144),
    "cosine": (Curve([Segment(0, 12, 0.4, 0.0, "cosine")]), 0.4 * math.pi**2 / 2 / 144),
    "exponential": (
        Curve([Segment(0, 12, 0.4, 0.004, "exponential")]), 0.4 * (math.log(100) / 12) ** 2,
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CURVES)
def test_the_error_of_a_scaled_curve_is_at_most_an_eighth_of_its_second_derivative(name):
    curve, second_derivative = CURVES[name]
    edges, factors = [0, 1, 4, 12], [1.0, 1.7, 3.1]
    scaled = scaled_in_stretches(curve, edges, factors)
    epochs = np.linspace(0, 12, 1201)[:-1]
    factor = np.asarray(factors)[np.searchsorted(edges, epochs, side="right") - 1]
    expected = factor * [curve(epoch) for epoch in epochs]
    away = np.abs([scaled(epoch) for epoch in epochs] - expected)
    assert (away <= factor * second_derivative / 8 + 1e-6).all()
    assert away[epochs >= 4].max() < 1e-6  # the last stretch keeps the shape
    assert scaled.end == 12
