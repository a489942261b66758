"""The arms differ in the classifier only; the claimed parameter counts are those of the models."""

from pathlib import Path

import pytest

from lbkeras import models
from lbkeras.cli.config_files import config_module, load_config
from lbkeras.layers import HadamardClassifier, OrthonormalClassifier
from lbkeras.runs import build, experiment

HOFFER = Path(__file__).parents[2] / "configs" / "papers" / "hoffer2018_fixed_classifier.py"
SMALL = ["digits", "mnist", "cifar10"]
REPORTED = [*SMALL, "paper_cifar10", "imagenet"]
KINDS = ["learned", "hadamard", "orthonormal"]
SHAPES = dict(digits=(8, 8, 1), mnist=(28, 28, 1), imagenet=(64, 64, 3))


def _settings(variant):
    config = load_config(f"{HOFFER}:{variant}")
    return {arm: experiment.arm_settings(config, arm) for arm in config.arms}


@pytest.mark.parametrize("variant", REPORTED)
def test_arms_differ_in_the_classifier_and_the_rate_only(variant):
    settings = _settings(variant)
    assert list(settings) == KINDS
    learned = settings["learned"]
    assert "fixed_classifier" not in learned["model"]
    for kind in KINDS[1:]:
        arm = settings[kind]
        assert arm["model"] == learned["model"] | {"fixed_classifier": kind}
        for section in ("data", "optimizer", "train"):
            assert arm[section] == learned[section]
        assert arm["plan"] | {"learning_rates": 0} == learned["plan"] | {"learning_rates": 0}


@pytest.mark.parametrize("variant", SMALL)
def test_tuning_tries_as_many_rates_for_each_arm_and_not_on_the_test_split(variant):
    reported, tuning = _settings(variant), _settings(f"{variant}_tuning")
    assert len(tuning) == 5 * len(reported)
    for arm, settings in reported.items():
        tried = [each for name, each in tuning.items() if name.startswith(f"{arm}_rate_")]
        rates = [each["plan"]["learning_rates"] for each in tried]
        assert [rate[0] for rate in rates] == pytest.approx([rates[0][0] * 2**i for i in range(5)])
        assert all(rate == pytest.approx((rate[0], rate[0] / 10, rate[0] / 100)) for rate in rates)
        assert settings["plan"]["learning_rates"] in rates
        for each in tried:
            assert each["model"] == settings["model"]
            same = {"learning_rates": 0}
            assert each["plan"] | same == settings["plan"] | same
            splits = [each["data"][key] for key in ("train_split", "test_split")]
            assert splits == ["train[:80%]", "train[80%:]"]
            assert settings["data"]["test_split"] == "test"
    configs = [load_config(f"{HOFFER}:{name}") for name in (variant, f"{variant}_tuning")]
    assert not set(experiment.seeds(configs[0])) & set(experiment.seeds(configs[1]))


def _trained(model):
    return sum(variable.shape.num_elements() for variable in model.trainable_variables)


def _claimed(variant):
    claims = {claim["name"]: claim for claim in config_module(str(HOFFER)).get_claims(variant)}
    return config_module(str(HOFFER))._PARAMETERS[variant], claims


@pytest.mark.parametrize(
    "variant",
    [
        *SMALL,
        # The gate tries cifar10, the same network with another depth.
        *(pytest.param(each, marks=pytest.mark.release) for each in ("paper_cifar10", "imagenet")),
    ],
)
def test_claimed_parameter_counts_are_those_of_the_models(variant):
    numbers, _ = _claimed(variant)
    for kind, settings in _settings(variant).items():
        arguments = dict(settings["model"])
        function = getattr(models, arguments.pop("name"))
        model = function(input_shape=SHAPES.get(variant, (32, 32, 3)), **arguments)
        assert _trained(model) == numbers[kind != "learned"]


@pytest.mark.parametrize("variant", REPORTED)
def test_claims(variant):
    (learned, fixed), claims = _claimed(variant)
    assert list(claims) == [
        "hadamard_keeps_accuracy", "orthonormal_keeps_accuracy", "hadamard_trains_fewer_parameters"
    ]  # fmt: skip
    for kind in KINDS[1:]:
        claim = claims[f"{kind}_keeps_accuracy"]
        assert (claim["test"], claim["baseline"], claim["margin"]) == ("not_worse", "learned", 0.01)
    fewer = claims["hadamard_trains_fewer_parameters"]
    assert (fewer["test"], fewer["metric"]) == ("ratio_at_least", "trainable_parameters")
    assert 0 <= learned / fixed - fewer["ratio"] < 1e-4 and fewer["ratio"] > 1
    assert f"{fixed:,} of {learned:,}" in fewer["statement"]


def test_the_kernel_becomes_a_scale():
    """The kernel is 2,048 x 1,000 in ResNet-50, the paper's 8 %; 64 x 10 in ResNet-56, 0.07 %."""
    shares = {}
    for variant, kernel in (("imagenet", 2_048_000), ("paper_cifar10", 640)):
        (learned, fixed), _ = _claimed(variant)
        assert learned - fixed == kernel - 1
        shares[variant] = 100 * kernel / learned
    assert shares["imagenet"] == pytest.approx(8.0, abs=0.05)
    assert shares["paper_cifar10"] == pytest.approx(0.07, abs=0.006)


def test_models_have_the_classifier_of_their_arm_with_the_weight_decay():
    for kind, settings in _settings("digits").items():
        train, _ = build.make_pipelines(settings, 32, seed=0, data_dir=None)
        last = build.make_model(settings, train).get_layer("logits")
        if kind == "learned":
            assert float(last.kernel_regularizer.l2) == pytest.approx(5e-5)
            continue
        assert type(last) is dict(hadamard=HadamardClassifier).get(kind, OrthonormalClassifier)
        assert float(last.scale_regularizer.l2) == pytest.approx(5e-5)


def test_published_schedules():
    plans = experiment.make_plans(load_config(f"{HOFFER}:paper_cifar10"))
    phases = plans["hadamard"].phases
    assert [phase.first_epoch for phase in phases] == [0, 81, 122, 164]
    rates = [phase.learning_rate for phase in phases]
    assert rates == pytest.approx([0.1, 0.01, 0.001, 0.0001])
    plans = experiment.make_plans(load_config(f"{HOFFER}:imagenet"))
    assert {plan.updates() for plan in plans.values()} == {90 * (1_281_167 // 256)}


def test_papers_numbers_belong_to_arms():
    assert list(config_module(str(HOFFER)).PAPER["arms"]) == KINDS[:2]
