"""LAMB's and AdamW's arms have the same rule and tuning, and differ in nothing else."""

from pathlib import Path

import pytest

from lbkeras.cli.config_files import config_module, load_config
from lbkeras.runs import experiment

LAMB = Path(__file__).parents[2] / "configs" / "papers" / "you2020_lamb.py"
SMALL = ["digits", "mnist"]


def _settings(variant):
    config = load_config(f"{LAMB}:{variant}")
    return {arm: experiment.arm_settings(config, arm) for arm in config.arms}


@pytest.mark.parametrize("variant", [*SMALL, "imagenet"])
def test_larger_batches_scale_the_small_ones_rate_and_warm_up_by_the_rule(variant):
    config = load_config(f"{LAMB}:{variant}")
    plans, warmup = experiment.make_plans(config), config.plan.base_warmup_epochs
    for optimizer in ("lamb", "adamw"):
        arms = [plan for arm, plan in plans.items() if arm.startswith(f"{optimizer}_")]
        assert bool(arms) == (optimizer == "lamb" or variant != "imagenet")
        for plan in arms:
            ratio = plan.batch_size(0) / arms[0].batch_size(0)
            rate = arms[0].learning_rate(warmup)  # the highest
            assert plan.learning_rate(0) == 0 and plan.epochs == arms[0].epochs
            assert plan.learning_rate(ratio * warmup) == pytest.approx(ratio**0.5 * rate)
            middle = (ratio * warmup + plan.epochs) / 2  # of a straight line to 0
            assert plan.learning_rate(middle) == pytest.approx(ratio**0.5 * rate / 2)


def test_the_untuned_recipe_of_imagenet():
    """Half the batch i times has rate 4 / (2^(i / 2) * 100) and 20 / 2^i warm-up epochs."""
    plans = experiment.make_plans(load_config(f"{LAMB}:imagenet"))
    for i in range(7):
        plan = plans[f"lamb_{32_768 >> i}"]
        assert plan.learning_rate(20 / 2**i) == pytest.approx(4 / (2 ** (i / 2) * 100))
        assert plan.epochs == 90
    assert plans["lamb_32768"].updates() == 3510


@pytest.mark.parametrize("variant", SMALL)
def test_the_arms_differ_in_optimizer_and_plan_only(variant):
    settings = _settings(variant)
    for arm, each in settings.items():
        optimizer = "LAMB" if "lamb" in arm else "AdamW"
        assert each["optimizer"] == dict(name=optimizer, weight_decay=0.01)
        assert each["data"] == settings[next(iter(settings))]["data"]
        assert each["model"] == settings[next(iter(settings))]["model"]
    sizes = {arm.rsplit("_", 1)[1] for arm in settings}
    for size in sizes:
        ours, theirs = settings[f"lamb_{size}"]["plan"], settings[f"adamw_{size}"]["plan"]
        assert ours | dict(base_learning_rate=0) == theirs | dict(base_learning_rate=0)


@pytest.mark.parametrize("variant", SMALL)
def test_both_optimizers_get_the_same_tuning_and_not_on_the_test_split(variant):
    config = load_config(f"{LAMB}:{variant}")
    reported, tuning = _settings(variant), _settings(f"{variant}_tuning")
    plans = experiment.make_plans(config)
    sizes = [plan.batch_size(0) for arm, plan in plans.items() if arm.startswith("lamb_")]
    of_group = {
        "lamb": sizes[0], "adamw": sizes[0], "retuned_lamb": sizes[-1], "retuned_adamw": sizes[-1]
    }  # fmt: skip
    assert len(tuning) == 5 * len(of_group)
    tuned = experiment.make_plans(load_config(f"{LAMB}:{variant}_tuning"))
    for group, size in of_group.items():
        tried = {arm: s for arm, s in tuning.items() if arm.startswith(f"{group}_rate_")}
        rates = [each["plan"]["base_learning_rate"] for each in tried.values()]
        assert rates == pytest.approx([rates[0] * 2**i for i in range(5)])
        own = reported[f"{group}_{size}"]
        assert own["plan"]["base_learning_rate"] in rates
        for arm, each in tried.items():
            assert each["optimizer"] == own["optimizer"] and each["model"] == own["model"]
            assert tuned[arm].batch_size(0) == size
            # A tuned rate is the plan's highest rate, at any batch size.
            warmup = config.plan.base_warmup_epochs * size / sizes[0]
            rate = each["plan"]["base_learning_rate"]
            assert tuned[arm].learning_rate(warmup) == pytest.approx(rate)
            assert each["data"]["train_split"] == "train[:80%]"
            assert each["data"]["test_split"] == "train[80%:]"
    other = load_config(f"{LAMB}:{variant}_tuning")
    assert not set(experiment.seeds(config)) & set(experiment.seeds(other))


def test_claims():
    get_claims = config_module(str(LAMB)).get_claims
    for variant in SMALL:
        claims = {claim["name"]: claim for claim in get_claims(variant)}
        smallest, *larger = [
            arm for arm in load_config(f"{LAMB}:{variant}").arms if arm.startswith("lamb_")
        ]
        for arm in larger:
            keeps = claims[f"{arm}_keeps_accuracy"]
            assert (keeps["test"], keeps["baseline"]) == ("not_worse", smallest)
            assert keeps["margin"] == 0.01 and "paper" not in keeps or not keeps["paper"]
        largest = larger[-1].split("_")[1]
        for arm in (f"adamw_{largest}", f"retuned_adamw_{largest}"):
            worse = claims[f"{arm}_is_worse_than_lamb"]
            assert (worse["arm"], worse["baseline"]) == (arm, larger[-1])
            assert worse["test"] == "worse"
        assert claims[f"lamb_{largest}_needs_no_tuning"]["baseline"] == f"retuned_lamb_{largest}"
    papers = {claim["arm"]: claim["paper"] for claim in get_claims("imagenet")}
    assert papers["lamb_32768"] == dict(arm=0.7642, baseline=0.7711)
    assert list(papers) == [f"lamb_{size}" for size in (4096, 8192, 16_384, 32_768)]
