"""Smith's own numbers."""

from pathlib import Path

import pytest

from lbkeras.cli.config_files import load_config
from lbkeras.runs import experiment

SMITH = Path(__file__).parents[2] / "configs" / "papers" / "smith2018.py"


@pytest.mark.parametrize("variant", ["digits", "mnist", "cifar10", "paper_cifar10"])
def test_smiths_arms_begin_at_the_same_noise_scale(variant):
    plans = experiment.make_plans(load_config(f"{SMITH}:{variant}"))
    naive = plans.pop("large_batch_naive")
    original = plans["original"]
    for plan in plans.values():
        for ours, theirs in zip(plan.phases, original.phases, strict=True):
            scale = plan.noise_scale(ours.first_epoch)
            assert scale == pytest.approx(original.noise_scale(theirs.first_epoch), rel=1e-9)
    assert naive.noise_scale(0) < original.noise_scale(0)


def test_smiths_optimizer_arms_are_the_optimizers_they_name():
    config = load_config(f"{SMITH}:optimizers")
    expected = {
        "sgd": ({"name": "SGD"}, 0.0),
        "momentum": ({"name": "SGD"}, 0.9),
        "nesterov": ({"name": "SGD", "nesterov": True}, 0.9),
        "adam": ({"name": "Adam"}, 0.0),
    }
    for arm in config.arms:
        settings = experiment.arm_settings(config, arm)
        optimizer, momentum = expected[arm.split("_")[0]]
        assert settings["optimizer"] == optimizer
        assert settings["plan"]["momentum"] == momentum
