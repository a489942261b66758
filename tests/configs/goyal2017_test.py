"""Goyal's arms: warm-ups and scaling rules; everything else is as for the small batch."""

from pathlib import Path

import pytest

from lbkeras.cli.config_files import config_module, load_config
from lbkeras.runs import build, experiment

GOYAL = Path(__file__).parents[2] / "configs" / "papers" / "goyal2017.py"
VARIANTS = list(config_module(str(GOYAL)).get_config.variants)


@pytest.mark.parametrize("variant", VARIANTS)
def test_warm_ups_and_rules(variant):
    config = load_config(f"{GOYAL}:{variant}")
    plans = experiment.make_plans(config)
    base, small = config.plan.base_learning_rate, plans["small_batch"].batch_size(0)
    large = plans["gradual_warmup"].batch_size(0)
    ratio, warmup = large / small, config.arms.gradual_warmup.plan.warmup_epochs
    # Learning rates at the start, in the middle of the warm-up and after it.
    expected = dict(
        small_batch=(1, 1, 1),
        no_warmup=(ratio, ratio, ratio),
        constant_warmup=(1, 1, ratio),
        gradual_warmup=(1, (1 + ratio) / 2, ratio),
        square_root=(1, (1 + ratio**0.5) / 2, ratio**0.5),
        unscaled=(1, 1, 1),
        beyond=(1, (1 + 2 * ratio) / 2, 2 * ratio),
    )
    assert list(plans) == list(expected)
    for arm, factors in expected.items():
        rates = [plans[arm].learning_rate(epoch) / base for epoch in (0, warmup / 2, warmup)]
        assert rates == pytest.approx(factors)
        last = plans[arm].learning_rate(plans[arm].epochs)
        assert last == pytest.approx(base * factors[2] / 1000)
        assert plans[arm].batch_size(0) == {"small_batch": small, "beyond": 2 * large}.get(
            arm, large
        )
    assert {plan.epochs for plan in plans.values()} == {config.plan.epochs}


def test_published_schedule():
    plans = experiment.make_plans(load_config(f"{GOYAL}:imagenet"))
    assert plans["small_batch"].updates() == 450_360
    gradual = plans["gradual_warmup"]
    rates = [gradual.learning_rate(epoch) for epoch in (0, 2.5, 5, 30, 60, 80)]
    assert rates == pytest.approx([0.1, 1.65, 3.2, 0.32, 0.032, 0.0032])


def test_batch_normalization_covers_32_examples_at_any_batch_size():
    config = load_config(f"{GOYAL}:digits")
    for arm in ("small_batch", "gradual_warmup"):
        settings = experiment.arm_settings(config, arm)
        train, _ = build.make_pipelines(settings, 32, seed=0, data_dir=None)
        sizes = {
            layer.ghost_batch_size
            for layer in build.make_model(settings, train).layers
            if type(layer).__name__ == "GhostBatchNormalization"
        }
        assert sizes == {32}
        optimizer = build.make_optimizer(settings, experiment.make_plan(settings))
        assert optimizer.nesterov and optimizer.momentum == 0.9


def test_papers_numbers_belong_to_arms():
    paper = config_module(str(GOYAL)).PAPER
    assert list(paper["arms"]) == list(load_config(f"{GOYAL}:imagenet").arms)
    errors = [23.60, 24.84, 25.88, 23.74, 26.22, 41.67, 24.79]
    accuracies = [arm["accuracy"] for arm in paper["arms"].values()]
    assert accuracies == pytest.approx([1 - error / 100 for error in errors])


def test_imagenet_is_reported_by_the_median_of_the_last_five_epochs():
    median = "val_accuracy_median_of_last_5"
    for variant, metric in (("imagenet", median), ("digits", "val_accuracy")):
        assert experiment.report_metric(load_config(f"{GOYAL}:{variant}")) == (metric, "higher")
        claims = config_module(str(GOYAL)).get_claims(variant)
        assert {claim["metric"] for claim in claims} == {metric}
