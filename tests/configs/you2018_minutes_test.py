"""ImageNet in minutes: the small batch, and LARS at 32,768 for 90 and 64 epochs."""

from pathlib import Path

import pytest

from lbkeras.cli.config_files import config_module, load_config
from lbkeras.runs import experiment

YOU = Path(__file__).parents[2] / "configs" / "papers" / "you2018_minutes.py"


def test_published_schedules():
    plans = experiment.make_plans(load_config(f"{YOU}:imagenet_resnet50"))
    assert {arm: (plan.epochs, plan.updates()) for arm, plan in plans.items()} == {
        "resnet50_256": (90, 450_360),
        "resnet50_32768": (90, 3510),  # PAPERS.md, "Update-count arithmetic": 32,768, 90 and 64
        "resnet50_32768_short": (64, 2496),
    }
    for plan in list(plans.values())[1:]:
        half = 5 + (plan.epochs - 5) / 2
        rates = [plan.learning_rate(epoch) for epoch in (0, 2.5, 5, half, plan.epochs)]
        assert rates == pytest.approx([0, 14.5, 29, 29 / 4, 0])
    alexnet = experiment.make_plans(load_config(f"{YOU}:imagenet_alexnet_bn"))
    assert [plan.updates() for plan in alexnet.values()] == [250_200, 3900]


@pytest.mark.parametrize("variant", config_module(str(YOU)).get_config.variants)
def test_kernels_are_decayed_once_and_equally(variant):
    config = load_config(f"{YOU}:{variant}")
    small, *large = [experiment.arm_settings(config, arm) for arm in config.arms]
    assert "weight_decay" not in small["optimizer"] and small["model"]["weight_decay"] > 0
    for settings in large:
        assert settings["optimizer"]["name"] == "LARS" and not settings["model"]["weight_decay"]
        assert settings["optimizer"]["weight_decay"] == small["model"]["weight_decay"]


def test_papers_numbers_belong_to_arms():
    arms = {
        arm
        for variant in ("imagenet_resnet50", "imagenet_alexnet_bn")
        for arm in load_config(f"{YOU}:{variant}").arms
    }
    assert set(config_module(str(YOU)).PAPER["arms"]) <= arms
