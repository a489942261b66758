"""ShakeDrop's arms differ in the end of a branch, and train on the same examples as the tuning."""

from pathlib import Path

import pytest

from lbkeras.cli.config_files import config_module, load_config
from lbkeras.layers import ShakeDrop
from lbkeras.runs import build, experiment

YAMADA = Path(__file__).parents[2] / "configs" / "papers" / "yamada2018_shakedrop.py"
SMALL = ["digits", "mnist", "cifar10"]
PAPERS = ["paper_cifar10", "paper_cifar100"]
LEVELS = ["batch", "image", "channel", "pixel"]
ARMS = ["plain", "stochastic_depth", "single_branch", *(f"shake_drop_{each}" for each in LEVELS)]
SHAKEN = {
    "shake_drop", "last_survival_probability", "survival", "alpha", "beta", "level"
}  # fmt: skip


def _settings(variant):
    config = load_config(f"{YAMADA}:{variant}")
    return {arm: experiment.arm_settings(config, arm) for arm in config.arms}


def _without(section, keys):
    return {key: value for key, value in section.items() if key not in keys}


@pytest.mark.parametrize("variant", [*SMALL, *PAPERS])
def test_arms_differ_in_the_end_of_a_branch_and_the_rate_only(variant):
    settings = _settings(variant)
    assert list(settings) == [arm for arm in ARMS if arm in settings]
    assert variant in ("mnist", "cifar10") or list(settings) == ARMS
    plain = settings["plain"]
    assert plain["model"]["shake_drop"] is False
    for arm in settings.values():
        assert _without(arm["model"], SHAKEN) == _without(plain["model"], SHAKEN)
        assert _without(arm["plan"], {"learning_rates"}) == _without(
            plain["plan"], {"learning_rates"}
        )
        for section in ("data", "optimizer", "train"):
            assert arm[section] == plain[section]


@pytest.mark.parametrize("arm", ARMS)
def test_the_end_of_a_branch(arm):
    """Section 3: p_l falls from 1 to 1/2, but is 0 for Shake-Shake on a single branch."""
    model = _settings("digits")[arm]["model"]
    if arm == "plain":
        assert model["shake_drop"] is False
        return
    single = arm == "single_branch"
    assert model["shake_drop"] is True
    assert model["last_survival_probability"] == (0 if single else 0.5)
    assert model.get("survival", "linear") == ("constant" if single else "linear")
    ranges = {"stochastic_depth": ((0, 0), (0, 0)), "single_branch": ((0, 1), (0, 1))}
    assert (model["alpha"], model["beta"]) == ranges.get(arm, ((-1, 1), (0, 1)))
    level = arm.removeprefix("shake_drop_") if arm.startswith("shake_drop_") else "image"
    assert model["level"] == level


def test_a_model_is_built_as_an_arm_says():
    settings = _settings("digits")["shake_drop_channel"]
    train, _ = build.make_pipelines(settings, 32, seed=0, data_dir=None)
    settings["model"]["depth"] = 8
    model = build.make_model(settings, train)
    layers = [layer for layer in model.layers if isinstance(layer, ShakeDrop)]
    assert [layer.survival_probability for layer in layers] == pytest.approx([5 / 6, 4 / 6, 3 / 6])
    assert {(layer.alpha, layer.beta, layer.level) for layer in layers} == {
        ((-1, 1), (0, 1), "channel")
    }


@pytest.mark.parametrize("variant", SMALL)
def test_tuning_tries_five_rates_on_the_same_examples_but_not_on_the_test_split(variant):
    reported, tuning = _settings(variant), _settings(f"{variant}_tuning")
    tuned = list(dict.fromkeys(name.partition("_rate_")[0] for name in tuning))
    assert {"plain", "single_branch", "shake_drop_image"} <= set(tuned) <= set(reported)
    for arm, settings in reported.items():
        as_arm = arm if arm in tuned else "shake_drop_image"  # the levels share a rate
        assert arm in tuned or arm.startswith("shake_drop_")
        tried = [s for name, s in tuning.items() if name.startswith(f"{as_arm}_rate_")]
        rates = [each["plan"]["learning_rates"] for each in tried]
        assert [rate[0] for rate in rates] == pytest.approx([rates[0][0] * 2**i for i in range(5)])
        assert settings["plan"]["learning_rates"] in rates
        for each in tried:
            assert each["model"] == settings["model"] or arm != as_arm
            changed = {"learning_rates": 0}
            assert each["plan"] | changed == settings["plan"] | changed
            held_out = each["data"].pop("test_split")
            assert each["data"] == _without(settings["data"], {"test_split"})
            assert held_out.startswith("train[") and settings["data"]["test_split"] == "test"
            each["data"]["test_split"] = held_out
    configs = [load_config(f"{YAMADA}:{name}") for name in (variant, f"{variant}_tuning")]
    assert not set(experiment.seeds(configs[0])) & set(experiment.seeds(configs[1]))


def test_tuning_on_digits_is_evaluated_on_examples_it_did_not_train_on():
    settings = _settings("digits_tuning")["plain_rate_0_05"]
    train, held_out = build.make_pipelines(settings, 32, seed=100, data_dir=None)
    assert train.num_examples == settings["data"]["num_examples"] == 144
    assert held_out.num_examples == 1437 - round(0.2 * 1437)

    def images(pipeline):
        return {image.numpy().tobytes() for batch in pipeline.dataset() for image in batch[0]}

    assert not images(train) & images(held_out)


@pytest.mark.parametrize("variant, rate", [("paper_cifar10", 0.1), ("paper_cifar100", 0.5)])
def test_published_schedules(variant, rate):
    config = load_config(f"{YAMADA}:{variant}")
    for plan in experiment.make_plans(config).values():
        assert [phase.first_epoch for phase in plan.phases] == [0, 150, 225]
        rates = [phase.learning_rate for phase in plan.phases]
        assert rates == pytest.approx([rate, rate / 10, rate / 100])
        assert (plan.epochs, plan.batch_size(0), plan.updates()) == (300, 128, 117_000)
    model = config.model
    assert (model.depth, model.widening, model.weight_decay) == (110, 270, 1e-4)


@pytest.mark.parametrize("variant", [*SMALL, *PAPERS])
def test_claims(variant):
    claims = config_module(str(YAMADA)).get_claims(variant)
    pairs = [(claim["arm"], claim["baseline"]) for claim in claims]
    expected = [
        ("plain", "shake_drop_image"),
        ("plain", "shake_drop_pixel"),
        ("single_branch", "plain"),
        ("shake_drop_batch", "shake_drop_pixel"),
        ("stochastic_depth", "shake_drop_image"),
    ]
    assert pairs == expected[: len(pairs)] and len(pairs) >= 4
    assert all(claim["test"] == "worse" and not claim.get("margin") for claim in claims)
    papers = config_module(str(YAMADA)).PAPER["arms"]
    assert set(papers) <= set(ARMS)
    assert papers["single_branch"]["accuracy"] == pytest.approx(1 - 0.7799)
