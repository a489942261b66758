"""AutoWU's arms have nothing to tune; the baseline is chosen without the test split."""

from pathlib import Path

import pytest

from lbkeras.cli.config_files import config_module, load_config
from lbkeras.runs import experiment

KIM = Path(__file__).parents[2] / "configs" / "papers" / "kim2021_autowu.py"
SMALL = ["digits", "mnist", "cifar10"]


def _settings(variant):
    config = load_config(f"{KIM}:{variant}")
    return {arm: experiment.arm_settings(config, arm) for arm in config.arms}


@pytest.mark.parametrize("variant", SMALL)
def test_arms_differ_in_the_learning_rate_only(variant):
    settings = _settings(variant)
    for batch_size in config_module(str(KIM))._RATES[variant]:
        tuned, ours = settings[f"tuned_{batch_size}"], settings[f"auto_wu_{batch_size}"]
        for section in ("data", "model", "optimizer"):
            assert tuned[section] == ours[section]
        for key in ("epochs", "batch_size", "momentum"):
            assert tuned["plan"][key] == ours["plan"][key]
        assert ours["callbacks"] == {"AutoWU": {}} and not tuned.get("callbacks")


def test_autowu_has_the_same_settings_at_every_batch_size():
    for variant in [*SMALL, "imagenet"]:
        plans = [s["plan"] for arm, s in _settings(variant).items() if arm.startswith("auto_wu")]
        plans = [{k: v for k, v in plan.items() if k != "batch_size"} for plan in plans]
        assert len(plans) >= 2 and all(plan == plans[0] for plan in plans)
        assert (plans[0]["min_learning_rate"], plans[0]["max_learning_rate"]) == (1e-5, 1.0)


@pytest.mark.parametrize("variant", SMALL)
def test_tuning_tries_five_rates_away_from_the_test_split(variant):
    reported, tuning = _settings(variant), _settings(f"{variant}_tuning")
    for batch_size in config_module(str(KIM))._RATES[variant]:
        arms = {a: s for a, s in tuning.items() if a.startswith(f"tuned_{batch_size}_rate_")}
        rates = sorted(settings["plan"]["learning_rate"] for settings in arms.values())
        assert len(rates) == 5 and rates[-1] == pytest.approx(16 * rates[0])
        assert reported[f"tuned_{batch_size}"]["plan"]["learning_rate"] in rates
    for settings in tuning.values():
        assert settings["data"]["train_split"] == "train[:80%]"
        assert settings["data"]["test_split"] == "train[80%:]"
    configs = [load_config(f"{KIM}:{name}") for name in (variant, f"{variant}_tuning")]
    seeds = [set(experiment.seeds(config)) for config in configs]
    assert not seeds[0] & seeds[1]


def test_imagenet_is_as_published():
    for batch_size in (4096, 16_384):
        settings = _settings("imagenet")[f"auto_wu_{batch_size}"]
        assert settings["model"]["name"] == "resnet50"
        assert (settings["plan"]["epochs"], settings["plan"]["batch_size"]) == (120, batch_size)
        assert settings["optimizer"] == dict(
            name="AdamP", weight_decay=0.1, delta=0.1, weight_decay_ratio=0.1
        )
