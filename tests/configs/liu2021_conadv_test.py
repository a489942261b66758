"""LARS alone and with copies get the same tuning budget, and not on the test split.

A dry run tries the copies too.
"""

from pathlib import Path

import pytest

from lbkeras.advice.dry_run import dry_run
from lbkeras.cli.config_files import config_module, load_config
from lbkeras.methods.concurrent_adversarial.stale_copies import StaleCopies
from lbkeras.runs import experiment
from lbkeras.runs.config_task import ConfigTask

LIU = Path(__file__).parents[2] / "configs" / "papers" / "liu2021_conadv.py"
MODULE = config_module(str(LIU))


def _settings(variant):
    config = load_config(f"{LIU}:{variant}")
    return {arm: experiment.arm_settings(config, arm) for arm in config.arms}


@pytest.mark.parametrize("variant", ["digits", "mnist", "cifar10"])
def test_both_are_tuned_alike_and_not_on_the_test_split(variant):
    reported, tuning = _settings(variant), _settings(f"{variant}_tuning")
    number = MODULE._TRIALS[variant]
    assert len(tuning) == number * len(reported)
    rates = {}
    for arm, settings in reported.items():
        trials = [s for name, s in tuning.items() if name.startswith(f"{arm}_trial_")]
        assert len(trials) == number
        chosen = trials[MODULE._CHOSEN[variant][arm] or 0]
        for section in ("plan", "optimizer", "model", "callbacks"):
            assert chosen[section] == settings[section]
        rates[arm] = [each["plan"]["learning_rate"] for each in trials]
        for each in trials:
            train, test = (each["data"][key] for key in ("train_split", "test_split"))
            assert train.startswith("train[:") and test.startswith("train[")
            assert train[7:].removesuffix("]") == test[6:].partition(":")[0]
        if arm.startswith("conadv"):
            low, high = MODULE._EPSILON[variant]
            epsilons = {each["callbacks"]["ConcurrentAdversarial"]["epsilon"] for each in trials}
            assert len(epsilons) >= number - 1 and low < min(epsilons) < max(epsilons) < high
            assert sorted(rates[arm]) == sorted(rates[arm.replace("conadv", "lars")])
    configs = [load_config(f"{LIU}:{name}") for name in (variant, f"{variant}_tuning")]
    assert not set(experiment.seeds(configs[0])) & set(experiment.seeds(configs[1]))
    ends = {s["data"]["train_split"] for s in reported.values()}
    used = {s["data"]["test_split"].split(":")[1] for s in tuning.values()}
    assert ends == ({"train[:10%]"} if variant == "mnist" else {"train"})
    assert used == ({"10%]"} if variant == "mnist" else {"]"})  # within the training data


def test_imagenet_arms_of_one_batch_size_differ_in_the_copies_only():
    settings = _settings("imagenet")
    for arm, own in settings.items():
        other = settings[arm.replace("conadv", "lars")]
        assert own["plan"] == other["plan"] and own["optimizer"] == other["optimizer"]
        copies = own["callbacks"].keys() - other["callbacks"].keys()
        assert copies == ({"ConcurrentAdversarial"} if "conadv" in arm else set())


def test_imagenet_at_96k_has_the_papers_updates():
    plans = experiment.make_plans(load_config(f"{LIU}:imagenet"))
    assert plans["conadv_98304"].updates() == 13 * 90 == 1170
    assert plans["lars_32768"].learning_rate(5.0) == 29.0


def _tried(task):
    result = dry_run({"arm": task}, "one", examples=2, say=lambda line: None)
    assert [str(failure) for failure in result.failures] == []
    return result.arms["arm"]


def test_a_dry_run_makes_copies_if_training_does(monkeypatch):
    made, copies = [], StaleCopies._copies

    def counted(self, *arguments):
        made.append(arguments)
        return copies(self, *arguments)

    monkeypatch.setattr(StaleCopies, "_copies", counted)
    settings = _settings("digits")
    for arm in ("lars_359", "conadv_359"):
        assert list(_tried(ConfigTask(settings[arm])).tried) == [359]
        assert bool(made) == (arm == "conadv_359")
