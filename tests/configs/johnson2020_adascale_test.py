"""AdaScale's arms have the small batch's settings only, and their runs end by themselves."""

from pathlib import Path

import pytest

from lbkeras.cli.config_files import config_module, load_config
from lbkeras.replication import read_history
from lbkeras.runs import experiment, training
from lbkeras.runs.config_task import ConfigTask
from lbkeras.runs.run_spec import RunSpec

JOHNSON = Path(__file__).parents[2] / "configs" / "papers" / "johnson2020_adascale.py"
SMALL = ["digits", "mnist"]


def _settings(variant):
    config = load_config(f"{JOHNSON}:{variant}")
    return {arm: experiment.arm_settings(config, arm) for arm in config.arms}


@pytest.mark.parametrize("variant", SMALL)
def test_adascale_has_the_plan_of_the_base_run(variant):
    config = load_config(f"{JOHNSON}:{variant}")
    plans = experiment.make_plans(config)
    settings, base = _settings(variant), next(iter(plans.values()))
    for arm, plan in plans.items():
        ours = arm.startswith("adascale_")
        assert settings[arm].get("callbacks", {}) == (dict(AdaScale={}) if ours else {})
        assert plan.batch_size(0) == int(arm.split("_")[1])
        if ours:
            assert plan.base == base
            assert 0 <= plan.updates() - base.updates() < plan.steps_per_epoch(0)


@pytest.mark.parametrize("variant", SMALL)
def test_the_rivals_have_the_classic_rules(variant):
    plans = experiment.make_plans(load_config(f"{JOHNSON}:{variant}"))
    base = next(iter(plans.values()))
    size, epochs, rate = base.batch_size(0), base.epochs, base.learning_rate(0)
    for arm, plan in plans.items():
        rule, scale = arm.split("_")[0], plan.batch_size(0) / size
        peak = max(plan.learning_rate(plan.epochs * i / 900) for i in range(900))
        if rule in ("linear", "warmup"):
            assert peak == pytest.approx(scale * rate) and plan.epochs == epochs
        if rule == "warmup":
            assert plan.learning_rate(0) == 0
            assert plan.learning_rate(epochs * 5 / 90) == pytest.approx(peak)
        if rule in ("unscaled", "identity"):
            assert peak == pytest.approx(rate)
            assert plan.epochs == epochs * (scale if rule == "identity" else 1)
        assert plan.learning_rate(plan.epochs) == 0
    assert {arm.split("_")[0] for arm in plans} == {
        *("base", "adascale", "linear", "warmup", "unscaled", "identity")
    }


@pytest.mark.parametrize("variant", SMALL)
def test_only_the_base_is_tuned_and_not_on_the_test_split(variant):
    base = next(iter(_settings(variant).values()))
    tuning = _settings(f"{variant}_tuning")
    rates = [settings["plan"]["base_learning_rate"] for settings in tuning.values()]
    assert rates == pytest.approx([rates[0] * 2**i for i in range(5)])
    assert base["plan"]["base_learning_rate"] in rates
    for settings in tuning.values():
        assert settings["model"] == base["model"] and settings["optimizer"] == base["optimizer"]
        plan = settings["plan"] | dict(base_learning_rate=base["plan"]["base_learning_rate"])
        assert plan == base["plan"]
        splits = [settings["data"][key] for key in ("train_split", "test_split")]
        assert splits == ["train[:80%]", "train[80%:]"]
    configs = [load_config(f"{JOHNSON}:{name}") for name in (variant, f"{variant}_tuning")]
    assert not set(experiment.seeds(configs[0])) & set(experiment.seeds(configs[1]))


@pytest.mark.parametrize("variant", SMALL)
def test_every_large_batch_is_claimed_to_keep_accuracy_and_to_save_updates(variant):
    claims = {claim["name"]: claim for claim in config_module(str(JOHNSON)).get_claims(variant)}
    arms = [arm for arm in load_config(f"{JOHNSON}:{variant}").arms if arm.startswith("adascale")]
    for arm in arms:
        keeps, saves = claims[f"{arm}_keeps_accuracy"], claims[f"{arm}_saves_updates"]
        assert keeps["baseline"] == saves["baseline"] and keeps["baseline"].startswith("base_")
        assert (keeps["test"], keeps["margin"]) == ("not_worse", 0.01)
    for rule in ("linear", "warmup"):
        worse = claims[f"{rule}_{arms[-1].split('_')[1]}_is_worse_than_adascale"]
        assert (worse["test"], worse["baseline"]) == ("worse", arms[-1])


@pytest.mark.release  # the gate: ada_scale/callback_test.py
def test_a_run_ends_when_its_gains_add_up_to_the_base_run(tmp_path):
    """Micro-batches have the base batch size, without a flag on the command line."""
    config = load_config(f"{JOHNSON}:digits")
    settings = experiment.arm_settings(config, "adascale_32")
    settings["plan"]["epochs"] = 1
    task = ConfigTask(settings)
    run = RunSpec(task, "adascale_32", 0, tmp_path, config="c.py", command="lbkeras train")
    record = training.train(run)
    *before, last = read_history(tmp_path / "history.jsonl")
    assert record["micro_batch_size"] == 8 and task.plan.base.updates() == 179
    assert before[-1]["adascale_progress"] < 179 <= last["adascale_progress"] < 179 + 4
    assert 179 / 4 < last["updates"] < 179 and len(before) + 1 < task.plan.epochs
    # The last update has the base run's final rate, not the longest run's rate at that epoch.
    rate = settings["plan"]["base_learning_rate"]
    assert last["learning_rate"] <= 4 * rate * 4 / 179 < task.plan.learning_rate(last["epoch"])
