"""LEGW's arms: the small batch's settings with the rule's learning rate and warm-up."""

from pathlib import Path

import pytest

from lbkeras.cli.config_files import config_module, load_config
from lbkeras.runs import experiment

LEGW = Path(__file__).parents[2] / "configs" / "papers" / "you2019_legw.py"
VARIANTS = list(config_module(str(LEGW)).get_config.variants)


def _sizes(plans):
    return {plan.batch_size(0): plan for arm, plan in plans.items() if arm.startswith("legw_")}


@pytest.mark.parametrize("variant", VARIANTS)
def test_legw_is_the_small_batch_with_the_rules_rate_and_warm_up(variant):
    config = load_config(f"{LEGW}:{variant}")
    plans = _sizes(experiment.make_plans(config))
    base = min(plans)
    warmup, rate = config.plan.base_warmup_epochs, config.plan.base_learning_rate
    for size, plan in plans.items():
        ratio = size / base
        assert plan.epochs == plans[base].epochs and plan.learning_rate(0) == 0
        assert plan.learning_rate(ratio * warmup) == pytest.approx(ratio**0.5 * rate)
        assert plan.learning_rate(ratio * warmup / 2) == pytest.approx(ratio**0.5 * rate / 2)
    assert max(plans) / base >= (16 if variant == "cifar10" else 32)


@pytest.mark.parametrize("variant", [name for name in VARIANTS if name != "imagenet"])
def test_rivals_at_the_largest_batch(variant):
    config = load_config(f"{LEGW}:{variant}")
    plans = experiment.make_plans(config)
    sizes = _sizes(plans)
    base, largest = min(sizes), max(sizes)
    warmup, rate = config.plan.base_warmup_epochs, config.plan.base_learning_rate
    factors = dict(unscaled=1, linear=largest / base, square_root=(largest / base) ** 0.5)
    for name, factor in factors.items():
        plan = plans[f"{name}_{largest}"]
        assert plan.batch_size(0) == largest
        assert plan.learning_rate(warmup) == pytest.approx(factor * rate)


def test_arms_differ_in_the_plan_only():
    for variant in VARIANTS:
        for arm in load_config(f"{LEGW}:{variant}").arms.values():
            assert set(arm) == {"description", "plan"}


def test_imagenet_rows():
    plans = _sizes(experiment.make_plans(load_config(f"{LEGW}:imagenet")))
    peaks = {2.0**10 * 2**i: 2 ** (2.5 + i / 2) for i in range(6)}
    for i, (size, peak) in enumerate(peaks.items()):
        assert plans[size].learning_rate(10 / 2 ** (5 - i)) == pytest.approx(peak)
        assert plans[size].learning_rate(90) == 0
    assert plans[32_768].updates() == 3510


def test_the_characters_variant_has_the_size_of_the_text():
    # 1,115,394 characters; the first 90 %, less one, in windows of 64.
    config = load_config(f"{LEGW}:characters")
    assert config.data.num_examples == (1_115_394 * 90 // 100 - 1) // 64
    assert config.data.name == "tinyshakespeare.txt:64"
