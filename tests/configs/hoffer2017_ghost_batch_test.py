"""Hoffer's arms: each adds one thing to the arm before it; the last makes equally many updates."""

from pathlib import Path

import pytest

from lbkeras.cli.config_files import config_module, load_config
from lbkeras.runs import build, experiment

HOFFER = Path(__file__).parents[2] / "configs" / "papers" / "hoffer2017_ghost_batch.py"
VARIANTS = list(config_module(str(HOFFER)).get_config.variants)


def _differences(one, other):
    return {
        f"{section}.{key}"
        for section in one
        for key in {*one[section], *other[section]}
        if one[section].get(key) != other[section].get(key)
    }


@pytest.mark.parametrize("variant", VARIANTS)
def test_an_arm_adds_one_thing_to_the_one_before_it(variant):
    config = load_config(f"{HOFFER}:{variant}")
    arms = [experiment.arm_settings(config, arm) for arm in config.arms]
    changes = [_differences(*pair) for pair in zip(arms, arms[1:], strict=False)]
    assert changes == [
        {"plan.batch_size"},
        {"plan.scaling"},
        {"model.ghost_batch_size"},
        {"plan.adapt_regime"},
    ]
    assert arms[-1]["model"]["ghost_batch_size"] == arms[0]["plan"]["batch_size"]
    assert arms[0]["model"]["ghost_batch_size"] == 0


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_large_batch_has_the_rule_and_the_updates_of_the_paper(variant):
    plans = experiment.make_plans(load_config(f"{HOFFER}:{variant}"))
    small, large = plans["small_batch"], plans["large_batch"]
    ratio = large.batch_size(0) // small.batch_size(0)
    assert large.batch_size(0) % small.batch_size(0) == 0 and ratio >= 16
    assert large.learning_rate(0) == small.learning_rate(0)
    for arm in ("learning_rate", "ghost_batch", "regime_adaptation"):
        assert plans[arm].learning_rate(0) == pytest.approx(ratio**0.5 * small.learning_rate(0))
    assert {plans[arm].epochs for arm in ("learning_rate", "ghost_batch")} == {small.epochs}
    adapted = plans["regime_adaptation"]
    assert adapted.epochs == ratio * small.epochs
    # Equal except for the remainder that each epoch drops.
    assert adapted.updates() == pytest.approx(small.updates(), rel=0.12)
    assert _undropped_updates(adapted) == pytest.approx(_undropped_updates(small))


def _undropped_updates(plan):
    return sum(phase.epochs * plan.num_examples / phase.batch_size for phase in plan.phases)


def test_published_regimes():
    plans = experiment.make_plans(load_config(f"{HOFFER}:paper_cifar10"))
    assert [(p.first_epoch, p.learning_rate) for p in plans["small_batch"].phases] == [
        (0, 0.1), (81, 0.01), (122, 0.001), (164, 0.0001)
    ]  # fmt: skip
    assert _undropped_updates(plans["small_batch"]) == 78_125
    assert plans["regime_adaptation"].epochs == 6400


def test_models_have_ghost_batch_norm_only_where_an_arm_says_so():
    config = load_config(f"{HOFFER}:digits")
    for arm in ("learning_rate", "ghost_batch"):
        settings = experiment.arm_settings(config, arm)
        train, _ = build.make_pipelines(settings, 16, seed=0, data_dir=None)
        names = {type(layer).__name__ for layer in build.make_model(settings, train).layers}
        assert ("GhostBatchNormalization" in names) == (arm == "ghost_batch")


def test_gradients_are_clipped_in_every_arm():
    config = load_config(f"{HOFFER}:digits")
    for arm in config.arms:
        settings = experiment.arm_settings(config, arm)
        optimizer = build.make_optimizer(settings, experiment.make_plan(settings))
        assert (optimizer.global_clipnorm, optimizer.momentum) == (5.0, 0.9)
