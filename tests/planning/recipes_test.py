import json
import math
from pathlib import Path

import pytest

from lbkeras import planning
from lbkeras.errors import UserError
from lbkeras.planning import (
    Plan,
    cosine_plan,
    curve_plan,
    linear_plan,
    polynomial_plan,
    steps_plan,
    warmup_steps_plan,
)
from lbkeras.schedules import linear_to_zero

DATA = dict(epochs=90, batch_size=8192, momentum=0.9, num_examples=1_281_167)
GOYAL = dict(
    DATA, boundaries=(30, 60, 80), factor=10, base_learning_rate=0.1, base_batch_size=256,
    warmup_epochs=5,
)  # fmt: skip
DECAYS = [polynomial_plan, cosine_plan, linear_plan]
WRITTEN_BY_0_1_0 = json.loads(
    (Path(__file__).parents[1] / "written_by_0_1_0" / "plans.json").read_text()
)


@pytest.mark.parametrize("saved", WRITTEN_BY_0_1_0, ids=lambda saved: saved["recipe"])
def test_plans_are_those_of_0_1_0_to_the_last_bit(saved):
    plan = getattr(planning, saved["recipe"])(**saved["arguments"])
    assert plan.to_dict() == saved["plan"]


def test_goyal():
    plan = warmup_steps_plan(**GOYAL)
    assert plan.updates() == 14_040
    expected = {0: 0.1, 2.5: 1.65, 5: 3.2, 29.9: 3.2, 30: 0.32, 60: 0.032, 80: 0.0032, 90: 0.0032}
    assert {epoch: plan.learning_rate(epoch) for epoch in expected} == pytest.approx(expected)
    # The warm-up's increment per update is constant.
    increments = [
        plan.learning_rate((update + 1) / 156) - plan.learning_rate(update / 156)
        for update in range(5 * 156)
    ]
    assert increments == pytest.approx([(3.2 - 0.1) / (5 * 156)] * 780, rel=1e-9)
    assert [phase.first_epoch for phase in plan.phases] == [0, 5, 30, 60, 80]


def test_without_warm_up_the_phases_are_the_whole_plan():
    plan = warmup_steps_plan(**{**GOYAL, "warmup_epochs": 0})
    assert plan.curve is None
    assert [p.learning_rate for p in plan.phases] == pytest.approx([3.2, 0.32, 0.032, 0.0032])


def test_constant_warm_up():
    plan = warmup_steps_plan(**GOYAL, warmup="constant")
    expected = {0: 0.1, 2.5: 0.1, 4.999: 0.1, 5: 3.2, 29.9: 3.2, 30: 0.32, 80: 0.0032}
    assert {epoch: plan.learning_rate(epoch) for epoch in expected} == pytest.approx(expected)
    assert plan.curve is None  # the phases have all rates
    halfway = warmup_steps_plan(**GOYAL | dict(warmup_epochs=2.5), warmup="constant")
    assert [halfway.learning_rate(epoch) for epoch in (2.4, 2.5)] == pytest.approx([0.1, 3.2])


def test_goyals_ablation_of_the_scaling_rule():
    # At 8k: 3.2, 0.1 · √32, and 0.1 unscaled.
    peaks = {
        scaling: warmup_steps_plan(**GOYAL, scaling=scaling).learning_rate(5)
        for scaling in ("linear", "square_root", "none")
    }
    assert peaks == pytest.approx({"linear": 3.2, "square_root": 0.1 * 32**0.5, "none": 0.1})


def test_slow_start():
    # Akiba's 32k schedule: 6.4, 0.96, 0.128, 0.0128 for 40, 30, 15 and 5 epochs.
    plan = steps_plan(
        **DATA, boundaries=[40, 70, 85], learning_rates=[6.4, 0.96, 0.128, 0.0128],
    )  # fmt: skip
    assert [(p.epochs, p.learning_rate) for p in plan.phases] == [
        (40, 6.4), (30, 0.96), (15, 0.128), (5, 0.0128),
    ]  # fmt: skip
    assert plan.curve is None


@pytest.mark.parametrize("recipe", DECAYS)
@pytest.mark.parametrize("warmup_epochs", [0.1, 0.3125, 5, 7.7])
def test_decays_start_at_the_peak_when_the_warm_up_ends(recipe, warmup_epochs):
    plan = recipe(**DATA, learning_rate=3.2, warmup_epochs=warmup_epochs, warmup_initial=0.1)
    assert plan.epochs == 90
    assert plan.learning_rate(0) == 0.1
    assert plan.learning_rate(warmup_epochs) == 3.2
    assert plan.learning_rate(warmup_epochs / 2) == pytest.approx(1.65)
    for near in (warmup_epochs - 1e-6, warmup_epochs + 1e-6):  # No jump.
        assert plan.learning_rate(near) == pytest.approx(3.2, rel=1e-4)
    assert plan.learning_rate(90) == 0
    rates = [plan.learning_rate(warmup_epochs + (90 - warmup_epochs) * i / 20) for i in range(21)]
    assert rates == sorted(rates, reverse=True)
    assert Plan.from_dict(plan.to_dict()) == plan


def test_shapes_of_the_decays():
    arguments = dict(DATA, learning_rate=3.0, warmup_epochs=10)
    final = dict(final_learning_rate=1.0)
    assert polynomial_plan(**arguments, **final).learning_rate(50) == pytest.approx(1 + 2 / 4)
    assert polynomial_plan(**arguments, power=3).learning_rate(50) == pytest.approx(3 / 8)
    expected = 1 + 2 * (1 + math.cos(math.pi / 4)) / 2
    assert cosine_plan(**arguments, **final).learning_rate(30) == pytest.approx(expected)
    assert linear_plan(**arguments).learning_rate(30) == pytest.approx(3 * 0.75)


@pytest.mark.parametrize("recipe", DECAYS)
def test_without_warm_up_the_decay_starts_at_once(recipe):
    plan = recipe(**DATA, learning_rate=0.4)
    assert len(plan.phases) == 1 and plan.phases[0].learning_rate == 0.4


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: linear_plan(**DATA, learning_rate=0.1, warmup_epochs=90),
            "warmup_epochs: expected a number of at least 0 and below epochs=90, received 90",
        ),
        (
            lambda: cosine_plan(**DATA, learning_rate=0),
            "learning_rate: expected a finite number above 0, received 0",
        ),
        (
            lambda: cosine_plan(**DATA, learning_rate=1, final_learning_rate=-1),
            "final_learning_rate: expected a finite number of at least 0, received -1",
        ),
        (
            lambda: polynomial_plan(**DATA, learning_rate=1, warmup_initial=-1),
            "warmup_initial: expected a finite number of at least 0, received -1",
        ),
        (
            lambda: polynomial_plan(**DATA, learning_rate=1, power=0),
            "power: expected a finite number above 0, received 0",
        ),
        (
            lambda: linear_plan(**{**DATA, "batch_size": 0}, learning_rate=1),
            "batch_size: expected a whole number of at least 1, received 0",
        ),
        (
            lambda: linear_plan(**{**DATA, "batch_size": 2_000_000}, learning_rate=1),
            "batch_size: expected at most num_examples=1281167, received 2000000",
        ),
        (
            lambda: linear_plan(**{**DATA, "momentum": 1}, learning_rate=1),
            "momentum: expected a number in [0, 1), received 1",
        ),
        (
            lambda: warmup_steps_plan(**{**GOYAL, "factor": 1}),
            "factor: expected a finite number above 1, received 1",
        ),
        (
            lambda: warmup_steps_plan(**GOYAL, warmup="constnt"),
            "warmup: expected one of 'gradual', 'constant', received 'constnt' (did you mean "
            "'constant'?)",
        ),
        (
            lambda: warmup_steps_plan(**GOYAL, scaling="sqrt"),
            "scaling: expected one of 'square_root', 'linear', 'none', received 'sqrt'",
        ),
        (
            lambda: warmup_steps_plan(**{**GOYAL, "boundaries": (60, 30)}),
            "boundaries: expected epochs in increasing order inside (0, 90), received (60, 30)",
        ),
        (
            lambda: steps_plan(**DATA, boundaries=[30], learning_rates=[1]),
            "learning_rates: expected 2, one more than boundaries, received 1",
        ),
        (
            lambda: steps_plan(**DATA, boundaries=[30], learning_rates=[1, 0]),
            "learning_rates[1]: expected a finite number above 0, received 0",
        ),
        (
            lambda: curve_plan(curve=0.1, batch_size=1, momentum=0, num_examples=1),
            "curve: expected a Curve that ends at a whole epoch, received 0.1",
        ),
    ],
)
def test_message(make, message):
    with pytest.raises(UserError) as error:
        make()
    assert str(error.value) == message


def test_a_curve_ends_at_a_whole_epoch():
    with pytest.raises(UserError, match="curve: expected a Curve that ends at a whole epoch"):
        curve_plan(curve=linear_to_zero(1, 1.5), batch_size=1, momentum=0, num_examples=1)
