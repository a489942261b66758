"""AutoWU's arms have nothing to tune; the baseline is tuned without the test split."""

from pathlib import Path

import pytest

from lbkeras.cli.config_files import config_module, load_config
from lbkeras.runs import experiment

KIM = Path(__file__).parents[2] / "configs" / "papers" / "kim2021_autowu.py"
SMALL = ["digits", "mnist", "mnist_bn", "cifar10"]


def _settings(variant):
    config = load_config(f"{KIM}:{variant}")
    return {arm: experiment.arm_settings(config, arm) for arm in config.arms}


@pytest.mark.parametrize("variant", SMALL)
def test_arms_differ_in_the_learning_rate_only(variant):
    settings = _settings(variant)
    for batch_size in config_module(str(KIM))._RATES[variant]:
        tuned = settings[f"tuned_{batch_size}"]
        assert not tuned.get("callbacks")
        for form, restore in (("auto_wu", False), ("auto_wu_restored", True)):
            ours = settings[f"{form}_{batch_size}"]
            for section in ("data", "model", "optimizer"):
                assert tuned[section] == ours[section]
            for key in ("epochs", "batch_size", "momentum"):
                assert tuned["plan"][key] == ours["plan"][key]
            assert ours["callbacks"] == {"AutoWU": {"restore": restore}}
    assert bool(settings[f"tuned_{batch_size}"]["model"].get("batch_normalization")) == (
        variant == "mnist_bn"
    )


@pytest.mark.parametrize("variant", [*SMALL, "imagenet"])
def test_claims_of_our_own_have_no_source(variant):
    for claim in config_module(str(KIM)).get_claims(variant):
        ours = "auto_wu_restored" in claim["arm"]
        assert ours == claim["statement"].startswith("Ours") == ("source" not in claim)


def test_autowu_has_the_same_settings_at_every_batch_size():
    for variant in [*SMALL, "imagenet"]:
        plans = [s["plan"] for arm, s in _settings(variant).items() if arm.startswith("auto_wu")]
        plans = [{k: v for k, v in plan.items() if k != "batch_size"} for plan in plans]
        assert len(plans) >= 2 and all(plan == plans[0] for plan in plans)
        assert (plans[0]["min_learning_rate"], plans[0]["max_learning_rate"]) == (1e-5, 1.0)


@pytest.mark.parametrize("variant", [*SMALL, "imagenet"])
def test_tuning_tries_five_rates_and_not_on_the_test_split(variant):
    reported, tuning = _settings(variant), _settings(f"{variant}_tuning")
    tuned = {arm: settings for arm, settings in reported.items() if arm.startswith("tuned_")}
    assert len(tuning) == 5 * len(tuned)
    for arm, settings in tuned.items():
        tried = [each for name, each in tuning.items() if name.startswith(f"{arm}_rate_")]
        rates = sorted(each["plan"]["learning_rate"] for each in tried)
        assert len(rates) == 5 and rates[-1] == pytest.approx(16 * rates[0])
        assert settings["plan"]["learning_rate"] in rates
        for each in tried:
            for section in ("model", "optimizer", "train"):
                assert each[section] == settings[section]
            assert each.get("loss") == settings.get("loss")
            assert each["plan"] | {"learning_rate": 0} == settings["plan"] | {"learning_rate": 0}
            assert each["data"]["train_split"] == "train[:80%]"
            assert each["data"]["test_split"] == "train[80%:]"
    configs = [load_config(f"{KIM}:{name}") for name in (variant, f"{variant}_tuning")]
    seeds = [set(experiment.seeds(config)) for config in configs]
    assert not seeds[0] & seeds[1]


@pytest.mark.parametrize("network", ["resnet50", "efficientnet"])
@pytest.mark.parametrize("batch_size", [4096, 16_384])
def test_imagenet_is_as_published(network, batch_size):
    arms = _settings("imagenet")
    tuned, settings = (arms[f"{each}_{network}_{batch_size}"] for each in ("tuned", "auto_wu"))
    assert (settings["plan"]["epochs"], settings["plan"]["batch_size"]) == (120, batch_size)
    assert settings["optimizer"] == dict(
        name="AdamP", weight_decay=0.1, delta=0.1, weight_decay_ratio=0.1
    )
    assert settings["plan"]["decay"] == "cosine" and tuned["plan"]["name"] == "cosine_plan"
    for key in ("data", "model", "loss", "optimizer", "train"):
        assert settings.get(key) == tuned.get(key)
    if network == "resnet50":  # without EfficientNet's extras, with cross-entropy
        assert settings["model"]["name"] == "resnet50" and "loss" not in settings
        return
    assert settings["model"] == dict(name="efficientnet_b0", num_classes=1000, synchronized=True)
    assert settings["loss"]["name"] == "LabelSmoothingCrossentropy"


def test_updates_on_imagenet():
    """120 epochs of 4,096 and of 16,384; the remainder is dropped (the authors' code rounds up)."""
    plans = experiment.make_plans(load_config(f"{KIM}:imagenet"))
    updates = {arm.rsplit("_", 1)[1]: plan.updates() for arm, plan in plans.items()}
    assert updates == {"4096": 37_440, "16384": 9_360} and len(plans) == 8


def test_papers_numbers_belong_to_arms():
    arms = config_module(str(KIM)).PAPER["arms"]
    assert list(arms) == [a for a in load_config(f"{KIM}:imagenet").arms if a.startswith("auto_wu")]
