import dataclasses
import functools
import json
import operator
import subprocess
import sys

import pytest

from lbkeras.errors import UserError
from lbkeras.planning import Phase, Plan
from lbkeras.schedules import cosine, linear_to_zero, steps, warm_up

PHASES = (Phase(0, 60, 128, 0.1, 0.9), Phase(60, 140, 640, 0.1, 0.95))
PLAN = Plan(PHASES, 50_000)
CIFAR, IMAGENET = 50_000, 1_281_167


def test_values_by_epoch():
    assert PLAN.epochs == 200
    assert [PLAN.batch_size(epoch) for epoch in (0, 59, 60, 199, 500)] == [128, 128, 640, 640, 640]
    assert [PLAN.momentum(epoch) for epoch in (59, 60)] == [0.9, 0.95]
    assert [PLAN.steps_per_epoch(epoch) for epoch in (59, 60)] == [390, 78]
    assert [PLAN.learning_rate(epoch) for epoch in (0, 59.5, 60, 300.5)] == [0.1] * 4
    assert PLAN.noise_scale(0) == pytest.approx(390.625)
    assert PLAN.noise_scale(60) == pytest.approx(0.1 * 50_000 / (640 * 0.05))


def test_first_update_counts_the_updates_before():
    assert [PLAN.first_update(epoch) for epoch in (0, 1, 60, 61, 200, 999)] == [
        0, 390, 23_400, 23_478, 34_320, 34_320,
    ]  # fmt: skip
    assert PLAN.examples() == 60 * 390 * 128 + 140 * 78 * 640


@pytest.mark.parametrize(
    ("num_examples", "stretches", "drop", "exact"),
    # Papers' plans: the updates without incomplete batches, and the sum of epochs * N / B.
    [
        (CIFAR, [(200, 128)], 78_000, 78_125.0),
        (CIFAR, [(60, 128), (60, 640), (40, 3200), (40, 5120)], 29_040, 29_140.6),
        (CIFAR, [(60, 128), (60, 640), (40, 3200), (40, 16_000)], 28_800, 28_875.0),
        (CIFAR, [(60, 128), (60, 640), (80, 3200)], 29_280, 29_375.0),
        (CIFAR, [(60, 128), (140, 640)], 34_320, 34_375.0),
        (CIFAR, [(60, 640), (60, 3200), (80, 5120)], 6_300, 6_406.2),
        (CIFAR, [(60, 640), (140, 3200)], 6_780, 6_875.0),
        (CIFAR, [(60, 3200), (140, 5120)], 2_160, 2_304.7),
        (CIFAR, [(200, 3200)], 3_000, 3_125.0),
        (CIFAR, [(6400, 4096)], 76_800, 78_125.0),
        (CIFAR, [(8, 2000)], 200, 200.0),
        (IMAGENET, [(90, 8192)], 14_040, 14_075.3),
        (IMAGENET, [(30, 8192), (60, 81_920)], 5_580, 5_630.1),
        (IMAGENET, [(30, 8192), (60, 65_536)], 5_820, 5_864.7),
        (IMAGENET, [(30, 16_384), (60, 65_536)], 3_480, 3_518.8),
        (IMAGENET, [(30, 32_768), (60, 65_536)], 2_310, 2_345.9),
        (IMAGENET, [(30, 8192), (60, 16_384)], 9_360, 9_383.5),
        (IMAGENET, [(90, 32_768)], 3_510, 3_518.8),
        (IMAGENET, [(90, 256)], 450_360, 450_410.3),
        (IMAGENET, [(64, 32_768)], 2_496, 2_502.3),
        (IMAGENET, [(90, 98_304)], 1_170, 1_172.9),
        (IMAGENET, [(120, 4096)], 37_440, 37_534.2),
        (IMAGENET, [(77, 57_344)], 1_694, 1_720.3),
    ],
)
def test_paper_arithmetic(num_examples, stretches, drop, exact):
    epoch, phases = 0, []
    for epochs, batch_size in stretches:
        phases.append(Phase(epoch, epochs, batch_size, 0.1, 0.9))
        epoch += epochs
    plan = Plan(phases, num_examples)
    assert plan.updates() == drop
    # Each epoch drops less than one batch; the "exact" column is rounded to 0.1.
    assert exact - 0.05 - plan.epochs < drop <= exact + 0.05


def test_an_epoch_that_misses_a_boundary_by_rounding_is_in_the_later_phase():
    plan = Plan([Phase(0, 1, 10, 0.1, 0.5), Phase(1, 1, 50, 0.1, 0.9)], 100)
    epoch = functools.reduce(operator.add, [0.1] * 10)  # `sum` is exact since Python 3.12
    assert 1 - 1e-15 < epoch < 1
    assert (plan.batch_size(epoch), plan.momentum(epoch)) == (50, 0.9)
    assert plan.noise_scale(epoch) == pytest.approx(0.1 * 100 / (50 * 0.1))
    assert (plan.batch_size(1 - 1e-8), plan.momentum(1 - 1e-8)) == (10, 0.5)


def test_a_plan_is_immutable_and_comparable():
    with pytest.raises(dataclasses.FrozenInstanceError):
        PLAN.num_examples = 3
    assert Plan(list(PHASES), 50_000) == PLAN
    assert isinstance(Plan(list(PHASES), 50_000).phases, tuple)
    assert hash(PLAN) == hash(Plan(PHASES, 50_000))


def test_a_curve_sets_the_learning_rate_and_the_noise_scale():
    plan = Plan(PHASES, 50_000, linear_to_zero(0.4, 200))
    assert [phase.learning_rate for phase in plan.phases] == pytest.approx([0.4, 0.28])
    assert plan.learning_rate(100.5) == pytest.approx(0.4 * 99.5 / 200)
    assert plan.noise_scale(100) == pytest.approx(0.2 * 50_000 / (640 * 0.05))
    assert plan.learning_rate(200) == 0


def test_a_curve_that_is_constant_in_each_phase_is_dropped():
    assert Plan(PHASES, 50_000, steps([0.1, 0.1], [60], 200)) == PLAN
    assert Plan(PHASES, 50_000, steps([0.1, 0.2], [60], 200)).phases[1].learning_rate == 0.2
    assert Plan(PHASES, 50_000, steps([0.1, 0.2], [61], 200)).curve is not None


def test_to_dict():
    assert PLAN.to_dict() == {
        "updates": 34_320,
        "examples": 60 * 390 * 128 + 140 * 78 * 640,
        "num_examples": 50_000,
        "phases": [
            {
                "first_epoch": 0,
                "epochs": 60,
                "batch_size": 128,
                "learning_rate": 0.1,
                "momentum": 0.9,
                "steps_per_epoch": 390,
                "noise_scale": PLAN.noise_scale(0),
            },
            {
                "first_epoch": 60,
                "epochs": 140,
                "batch_size": 640,
                "learning_rate": 0.1,
                "momentum": 0.95,
                "steps_per_epoch": 78,
                "noise_scale": PLAN.noise_scale(60),
            },
        ],
    }


@pytest.mark.parametrize(
    "plan",
    [
        PLAN,
        Plan(PHASES, 50_000, linear_to_zero(0.4, 200)),
        Plan(PHASES, 50_000, warm_up(cosine(0.4, 0.0, 200), 2.5, 0.0)),
    ],
)
def test_round_trip_through_json(plan):
    data = json.loads(json.dumps(plan.to_dict(), allow_nan=False))
    assert ("curve" in data) == (plan.curve is not None)
    restored = Plan.from_dict(data)
    assert restored == plan
    assert restored.to_dict() == plan.to_dict()


def test_planning_loads_neither_tensorflow_nor_keras():
    code = (
        "import sys, lbkeras.planning, lbkeras.schedules\n"
        "sys.exit(bool({'tensorflow', 'keras', 'numpy', 'jax'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], timeout=60).returncode == 0


def _phase(**changes):
    return lambda: Plan([dataclasses.replace(PHASES[0], **changes)], 50_000)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            _phase(batch_size=0),
            "phases[0].batch_size: expected a whole number of at least 1, received 0",
        ),
        (
            _phase(batch_size=-8),
            "phases[0].batch_size: expected a whole number of at least 1, received -8",
        ),
        (
            _phase(batch_size=128.0),
            "phases[0].batch_size: expected a whole number of at least 1, received 128.0",
        ),
        (
            _phase(batch_size=50_001),
            "phases[0].batch_size: expected at most num_examples=50000, received 50001",
        ),
        (_phase(momentum=1.0), "phases[0].momentum: expected a number in [0, 1), received 1.0"),
        (_phase(momentum=-0.1), "phases[0].momentum: expected a number in [0, 1), received -0.1"),
        (
            _phase(learning_rate=0),
            "phases[0].learning_rate: expected a finite number above 0, received 0",
        ),
        (
            _phase(learning_rate=float("nan")),
            "phases[0].learning_rate: expected a finite number above 0, received nan",
        ),
        (_phase(epochs=0), "phases[0].epochs: expected a whole number of at least 1, received 0"),
        (_phase(first_epoch=1), "phases[0].first_epoch: expected 0, received 1"),
        (
            lambda: Plan([PHASES[0], PHASES[0]], 50_000),
            "phases[1].first_epoch: expected 60, where the phase before it ends, received 0",
        ),
        (lambda: Plan([], 50_000), "phases: expected at least one Phase, received none"),
        (lambda: Plan([3], 50_000), "phases[0]: expected a Phase, received 3"),
        (
            lambda: Plan(PHASES, 0),
            "num_examples: expected a whole number of at least 1, received 0",
        ),
        (lambda: Plan(PHASES, 50_000, 0.1), "curve: expected a Curve or None, received 0.1"),
        (
            lambda: Plan(PHASES, 50_000, linear_to_zero(0.1, 90)),
            "curve: expected a Curve that ends at epoch 200, as the phases do, received one that "
            "ends at 90",
        ),
        (
            lambda: PLAN.batch_size(-1),
            "epoch: expected a finite number of at least 0, received -1",
        ),
        (
            lambda: PLAN.first_update(1.5),
            "epoch: expected a whole number of at least 0, received 1.5",
        ),
        (
            lambda: Plan.from_dict({"updates": 3}),
            "plan: expected the key 'phases', received updates",
        ),
        (
            lambda: Plan.from_dict({"phases": [{"epochs": 3}], "num_examples": 3}),
            "phases[0]: expected the key 'first_epoch', received epochs",
        ),
    ],
)
def test_message(make, message):
    with pytest.raises(UserError) as error:
        make()
    assert str(error.value) == message
