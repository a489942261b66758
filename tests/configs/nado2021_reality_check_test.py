"""Nesterov and LARS get the same tuning, not on the test split; ImageNet has Nado's numbers."""

from pathlib import Path

import pytest

from lbkeras.cli.config_files import config_module, load_config
from lbkeras.runs import experiment

NADO = Path(__file__).parents[2] / "configs" / "papers" / "nado2021_reality_check.py"
MODULE = config_module(str(NADO))


def _settings(variant):
    config = load_config(f"{NADO}:{variant}")
    return {arm: experiment.arm_settings(config, arm) for arm in config.arms}


@pytest.mark.parametrize("variant", ["digits", "mnist"])
def test_both_optimizers_are_tuned_alike_and_not_on_the_test_split(variant):
    reported, tuning = _settings(variant), _settings(f"{variant}_tuning")
    assert len(tuning) == MODULE._TRIALS * len(reported)
    for arm, settings in reported.items():
        trials = [s for name, s in tuning.items() if name.startswith(f"{arm}_trial_")]
        assert len(trials) == MODULE._TRIALS
        chosen = MODULE._CHOSEN[variant][arm] or 0
        for section in ("plan", "optimizer", "model", "loss"):
            assert trials[chosen][section] == settings[section]
        for each in trials:
            splits = [each["data"][key] for key in ("train_split", "test_split")]
            assert splits == ["train[:80%]", "train[80%:]"]
            assert each["plan"]["batch_size"] == settings["plan"]["batch_size"]
    configs = [load_config(f"{NADO}:{name}") for name in (variant, f"{variant}_tuning")]
    assert not set(experiment.seeds(configs[0])) & set(experiment.seeds(configs[1]))


@pytest.mark.parametrize("variant", ["digits_tuning", "mnist_tuning"])
def test_each_pair_of_trials_differs_in_the_update_rule_and_the_rates_scale_only(variant):
    settings = _settings(variant)
    for arm, lars in settings.items():
        if not arm.startswith("lars_"):
            continue
        nesterov = settings[arm.replace("lars", "nesterov")]
        assert lars["plan"]["learning_rate"] == pytest.approx(
            2 * nesterov["plan"]["learning_rate"], rel=0.01
        )
        assert lars["plan"] | {"learning_rate": 0} == nesterov["plan"] | {"learning_rate": 0}
        assert lars["loss"] == nesterov["loss"] and lars["data"] == nesterov["data"]
        decay = lars["optimizer"]["weight_decay"]
        assert (lars["model"]["weight_decay"], nesterov["model"]["weight_decay"]) == (0.0, decay)
        assert nesterov["optimizer"] == dict(name="SGD", nesterov=True)


def test_trials_are_in_the_ranges_that_the_config_states():
    for each in _settings("mnist_tuning").values():
        plan = each["plan"]
        assert 0.03 <= 1 - plan["momentum"] <= 0.5
        assert 0 <= plan["warmup_epochs"] <= 0.5 * plan["epochs"]
        assert 0 <= each["loss"]["label_smoothing"] <= 0.2
        decay = each["optimizer"].get("weight_decay", each["model"]["weight_decay"])
        assert 1e-5 <= decay <= 1e-2


def test_imagenet_is_as_published():
    settings, plans = _settings("imagenet"), experiment.make_plans(load_config(f"{NADO}:imagenet"))
    lars, nesterov = plans["lars_32768"], plans["nesterov_32768"]
    # MLPerf rounds up every 4 epochs; here the remainder of each epoch is dropped.
    assert -(-4 * 1_281_167 // 32_768) * 16 == 2512
    assert lars.updates() == nesterov.updates() == 39 * 64 == 2496
    # Warm-ups of 706 and 638 updates to the peak, decay of power 2 to the final rate.
    for plan, warmup, peak, final in ((lars, 706, 29.0, 1e-4), (nesterov, 638, 7.05, 6e-6)):
        rates = [plan.learning_rate(update / 39) for update in (0, warmup / 2, warmup)]
        assert rates == pytest.approx([0, peak / 2, peak])
        assert max(map(plan.learning_rate, (u / 39 for u in range(2496)))) == pytest.approx(peak)
        middle = plan.learning_rate((warmup + 2496) / 2 / 39)
        assert middle == pytest.approx(final + (peak - final) / 4)
        assert plan.learning_rate(64) == final
    assert (lars.momentum(0), nesterov.momentum(0)) == (0.929, 0.97603)
    of = {arm: (s["model"], s["loss"]["label_smoothing"]) for arm, s in settings.items()}
    shared = dict(name="resnet50", num_classes=1000, ghost_batch_size=64)
    assert of["lars_32768"] == (shared | dict(weight_decay=0.0, last_gamma=0.0), 0.1)
    assert of["nesterov_32768"] == (shared | dict(weight_decay=5.8e-5, last_gamma=0.4138), 0.15)
    assert settings["lars_32768"]["optimizer"] == dict(
        name="LARS", trust_coefficient=0.001, weight_decay=1e-4
    )
    assert settings["nesterov_32768"]["optimizer"] == dict(name="SGD", nesterov=True)


def test_papers_numbers_belong_to_imagenets_arms_only():
    assert list(MODULE.PAPER["arms"]) == list(load_config(f"{NADO}:imagenet").arms)
    for variant in ("digits", "mnist"):
        assert not set(MODULE.PAPER["arms"]) & set(load_config(f"{NADO}:{variant}").arms)
