"""LARS' arms: SGD and LARS are treated alike, and rates are tuned without the test split."""

from pathlib import Path

import pytest

from lbkeras.cli.config_files import config_module, load_config
from lbkeras.runs import build, experiment

YOU = Path(__file__).parents[2] / "configs" / "papers" / "you2017_lars.py"
SMALL = ["digits", "mnist", "cifar10"]


def _settings(variant):
    config = load_config(f"{YOU}:{variant}")
    return {arm: experiment.arm_settings(config, arm) for arm in config.arms}


def _decay(settings):
    """Returns an arm's weight decay of kernels in the model's loss and in the optimizer."""
    return settings["model"]["weight_decay"], settings["optimizer"].get("weight_decay", 0.0)


@pytest.mark.parametrize("variant", [*SMALL, *(f"{name}_tuning" for name in SMALL)])
def test_sgd_and_lars_differ_in_the_update_rule_and_the_rate_only(variant):
    settings = _settings(variant)
    sgd = [s for arm, s in settings.items() if arm.startswith("sgd_")]
    lars = [s for arm, s in settings.items() if arm.startswith("lars_")]
    assert len(sgd) == len(lars) == len(settings) / 2
    for theirs, ours in zip(sgd, lars, strict=True):
        assert (theirs["optimizer"]["name"], ours["optimizer"]["name"]) == ("SGD", "LARS")
        assert _decay(theirs) == (5e-4, 0.0) and _decay(ours) == (0.0, 5e-4)
        assert theirs["data"] == ours["data"]
        assert theirs["model"] | {"weight_decay": 0} == ours["model"] | {"weight_decay": 0}
        assert theirs["plan"] | {"learning_rate": 0} == ours["plan"] | {"learning_rate": 0}


@pytest.mark.parametrize("variant", SMALL)
def test_tuning_tries_as_many_rates_for_each_arm_and_not_on_the_test_split(variant):
    reported, tuning = _settings(variant), _settings(f"{variant}_tuning")
    for arm, settings in reported.items():
        tried = [s for name, s in tuning.items() if name.startswith(f"{arm}_rate_")]
        rates = [s["plan"]["learning_rate"] for s in tried]
        assert rates == pytest.approx([rates[0] * 2**i for i in range(5)])
        assert settings["plan"]["learning_rate"] in rates
        for other in tried:
            assert other["optimizer"] == settings["optimizer"]
            assert other["model"] == settings["model"]
            assert other["plan"] | {"learning_rate": 0} == settings["plan"] | {"learning_rate": 0}
            splits = [other["data"][key] for key in ("train_split", "test_split")]
            assert splits == ["train[:80%]", "train[80%:]"]
            assert settings["data"]["test_split"] == "test"
    configs = [load_config(f"{YOU}:{name}") for name in (variant, f"{variant}_tuning")]
    assert not set(experiment.seeds(configs[0])) & set(experiment.seeds(configs[1]))


def test_the_held_out_data_of_digits_have_the_size_that_the_config_says():
    settings = next(iter(_settings("digits_tuning").values()))
    train, held_out = build.make_pipelines(settings, 32, seed=100, data_dir=None)
    assert train.num_examples + held_out.num_examples == 1437


def test_published_schedules():
    plans = experiment.make_plans(load_config(f"{YOU}:imagenet_resnet50"))
    plan = plans["resnet50_lars_32768"]
    # 29 after 5 epochs, then 29 (1 - t)^2; 90 epochs of 39 updates.
    assert [plan.learning_rate(epoch) for epoch in (0, 5, 47.5, 90)] == [0.0, 29.0, 7.25, 0.0]
    assert plan.updates() == 3510
    plan = experiment.make_plans(load_config(f"{YOU}:imagenet_alexnet_bn"))["alexnet_bn_sgd_512"]
    assert plan.learning_rate(0) == 0.02 and plan.learning_rate(50) == pytest.approx(0.005)


def test_papers_numbers_belong_to_arms():
    arms = [
        *load_config(f"{YOU}:imagenet_alexnet").arms,
        *load_config(f"{YOU}:imagenet_alexnet_bn").arms,
        *load_config(f"{YOU}:imagenet_resnet50").arms,
    ]
    assert list(config_module(str(YOU)).PAPER["arms"]) == arms


@pytest.mark.parametrize("variant", [*SMALL, "imagenet_alexnet", "imagenet_alexnet_bn"])
def test_the_largest_batch_is_claimed_to_keep_accuracy_and_to_beat_sgd(variant):
    claims = {claim["name"]: claim for claim in config_module(str(YOU)).get_claims(variant)}
    first, *_ = arms = list(load_config(f"{YOU}:{variant}").arms)
    largest = [arm for arm in arms if "sgd_" in arm][-1].rsplit("_", 1)[1]
    keeps = claims[f"{first.removesuffix(first.rsplit('_', 1)[1])}{largest}".replace("sgd", "lars")
                   + "_keeps_accuracy"]  # fmt: skip
    assert (keeps["test"], keeps["baseline"], keeps["margin"]) == ("not_worse", first, 0.01)
    loses = claims[f"sgd_{largest}_loses_accuracy"]
    assert (loses["test"], loses["baseline"]) == ("worse", first)
    beats = claims[f"lars_{largest}_beats_sgd"]
    assert beats["test"] == "worse" and "lars" in beats["baseline"] and "sgd" in beats["arm"]
