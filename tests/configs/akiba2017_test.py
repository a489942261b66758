"""Akiba's arms: each adds one of the paper's three methods to the arm before it."""

import math
from pathlib import Path

import pytest

from lbkeras.cli.config_files import config_module, load_config
from lbkeras.runs import build, experiment

AKIBA = Path(__file__).parents[2] / "configs" / "papers" / "akiba2017.py"
VARIANTS = list(config_module(str(AKIBA)).get_config.variants)


@pytest.mark.parametrize("variant", VARIANTS)
def test_each_arm_adds_one_thing(variant):
    config = load_config(f"{AKIBA}:{variant}")
    arms = {arm: experiment.arm_settings(config, arm) for arm in config.arms}
    plans = experiment.make_plans(config)
    names = [settings["optimizer"]["name"] for settings in arms.values()]
    assert names == ["SGD", "SGD", "RMSpropWarmup", "RMSpropWarmup", "RMSpropWarmup"]
    assert [settings["plan"]["name"] for settings in arms.values()] == [
        "warmup_steps_plan", "warmup_steps_plan", "warmup_steps_plan", "slow_start_plan",
        "slow_start_plan",
    ]  # fmt: skip
    assert [bool(settings.get("callbacks")) for settings in arms.values()] == [False] * 4 + [True]
    assert len({plan.epochs for plan in plans.values()}) == 1
    sizes = [plan.batch_size(0) for plan in plans.values()]
    assert sizes[0] * 8 <= sizes[1] and len(set(sizes[1:])) == 1
    peak = config.plan.base_learning_rate * sizes[1] / sizes[0]
    assert plans["rmsprop_warmup"].learning_rate(0) == pytest.approx(peak)
    assert plans["slow_start"].learning_rate(0) == pytest.approx(peak / 2)


def _sgd_share(epoch):
    """SGD's share at an epoch of 90, by section 3.1 with the continuous linear part."""
    exponential = 0.5 * math.exp(2 * (epoch - 10) / 5)
    return exponential if epoch < 10 else min(0.5 + (epoch - 10) / 5, 1.0)


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_transition_is_at_the_papers_fraction_of_training(variant):
    config = load_config(f"{AKIBA}:{variant}")
    plan = experiment.make_plans(config)["slow_start"]
    settings = experiment.arm_settings(config, "slow_start")["optimizer"]
    center, period = settings["transition_center_steps"], settings["transition_period_steps"]
    assert center / plan.updates() == pytest.approx(10 / 90)
    assert period / plan.updates() == pytest.approx(5 / 90)
    # SGD's share at the center and at the end of the transition.
    steps = plan.steps_per_epoch(0)
    ninetieth = plan.epochs / 90
    for update, share in ((center, 0.5), (center + period / 2, 1.0)):
        fraction = _sgd_share(update / steps / ninetieth)
        assert fraction == pytest.approx(share)


def test_published_rates():
    plan = experiment.make_plans(load_config(f"{AKIBA}:imagenet"))["without_moving_averages"]
    rates = [plan.learning_rate(epoch) for epoch in (0, 39.9, 40, 70, 85)]
    assert rates == pytest.approx([6.4, 6.4, 0.96, 0.128, 0.0128])
    assert plan.updates() == 3510


def test_optimizers_and_callbacks_can_be_made():
    config = load_config(f"{AKIBA}:digits")
    settings = experiment.arm_settings(config, "without_moving_averages")
    optimizer = build.make_optimizer(settings, experiment.make_plan(settings))
    assert optimizer.momentum == 0.9 and optimizer.rmsprop_learning_rate == 3e-4
    assert settings["callbacks"] == {"LastBatchStatistics": {}}
