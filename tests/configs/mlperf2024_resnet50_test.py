"""MLPerf's settings: the schedules, how decay steps are counted, every batch size's row."""

from pathlib import Path

import pytest

from lbkeras.cli.config_files import config_module, load_config
from lbkeras.runs import experiment

MLPERF = Path(__file__).parents[2] / "configs" / "papers" / "mlperf2024_resnet50.py"
MODULE = config_module(str(MLPERF))
N = 1_281_167


@pytest.fixture(scope="module")
def settings():
    config = load_config(f"{MLPERF}:imagenet")
    return {arm: experiment.arm_settings(config, arm) for arm in config.arms}


@pytest.fixture(scope="module")
def plans():
    return experiment.make_plans(load_config(f"{MLPERF}:imagenet"))


@pytest.mark.parametrize("batch_size", MODULE._REFERENCE)
def test_decay_steps_follow_one_of_two_conventions(batch_size):
    """The plan's epochs are the file's decay steps, counted from the start or from the warm-up."""
    _, warmup_epochs, _, _, steps, median = MODULE._REFERENCE[batch_size]
    epochs, decay = MODULE._epochs(batch_size), steps * batch_size / N
    assert min(abs(epochs - decay), abs(epochs - decay - warmup_epochs)) < 0.25
    assert 2 <= epochs - median <= 5  # the plan extends a little beyond the target
    from_warmup = abs(epochs - decay) > 0.25
    assert from_warmup == (batch_size in (1632, 8192, 65_536, 67_840))


def test_every_batch_size_has_its_row(settings, plans):
    for batch_size, (rate, warmup, momentum, decay, *_) in MODULE._REFERENCE.items():
        each, plan = settings[f"resnet50_lars_{batch_size}"], plans[f"resnet50_lars_{batch_size}"]
        assert plan.learning_rate(0) == 0 and plan.learning_rate(warmup) == rate
        assert plan.learning_rate(warmup / 2) == pytest.approx(rate / 2)
        halfway = plan.learning_rate((warmup + plan.epochs) / 2)  # decay of power 2, to 1e-4
        assert halfway == pytest.approx(1e-4 + (rate - 1e-4) / 4)
        assert plan.learning_rate(plan.epochs) == 1e-4
        assert plan.momentum(0) == momentum
        assert plan.updates() == plan.epochs * (N // batch_size)
        assert each["optimizer"] == dict(name="LARS", trust_coefficient=0.001, weight_decay=decay)
    assert len(settings) == len(MODULE._REFERENCE) + 2
    assert list(plans) == sorted(plans, key=lambda arm: int(arm.split("_")[-1]))


def test_settings_that_all_arms_share(settings):
    for each in settings.values():
        assert each["model"] == dict(name="resnet50", num_classes=1000, ghost_batch_size=32)
        assert each["loss"]["name"] == "LabelSmoothingCrossentropy"
        assert each["loss"]["label_smoothing"] == 0.1
        assert each["train"]["validation_freq"] == 4
    config = load_config(f"{MLPERF}:imagenet")
    assert experiment.report_targets(config) == ["val_accuracy_at_least_0.759"]


@pytest.mark.parametrize("variant", ["digits", "mnist"])
def test_the_small_recipes_have_the_same_form(variant):
    config = load_config(f"{MLPERF}:{variant}")
    plans = experiment.make_plans(config)
    by_batch = sorted(plans.values(), key=lambda plan: plan.batch_size(0))
    epochs = [plan.epochs for plan in by_batch]
    assert list(plans.values()) == by_batch and epochs == sorted(epochs)  # as the reference's
    for arm, plan in plans.items():
        settings = experiment.arm_settings(config, arm)
        assert settings["optimizer"]["name"] == "LARS" and plan.learning_rate(plan.epochs) == 1e-4
        assert settings["loss"]["label_smoothing"] == 0.1
        assert settings["model"]["ghost_batch_size"] == 32
    assert MODULE.get_reference(variant) is None and MODULE.get_reference() is None


def test_papers_numbers_belong_to_imagenets_arms_only(plans):
    assert set(MODULE.PAPER["arms"]) <= set(plans)
    for variant in ("digits", "mnist"):
        assert not set(MODULE.PAPER["arms"]) & set(load_config(f"{MLPERF}:{variant}").arms)
