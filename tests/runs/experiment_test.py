"""Reads a config: what an arm inherits, and what is refused."""

import pytest
from ml_collections import ConfigDict

from lbkeras.errors import UserError
from lbkeras.runs import experiment
from tests.runs.small_config import small_config


@pytest.fixture
def settings():
    return experiment.arm_settings(small_config())


def test_arms_keep_their_order():
    assert experiment.arm_names(small_config(zebra={}, ant={})) == ["zebra", "ant"]


def test_an_arm_adds_to_a_section_or_replaces_it_by_name():
    config = small_config(
        base={}, added=dict(optimizer=dict(weight_decay=0.1)), replaced=dict(
            optimizer=dict(name="SGD", nesterov=False)
        ),
    )  # fmt: skip
    optimizers = [experiment.arm_settings(config, arm)["optimizer"] for arm in config.arms]
    assert optimizers == [
        {"name": "SGD", "nesterov": True},
        {"name": "SGD", "nesterov": True, "weight_decay": 0.1},
        {"name": "SGD", "nesterov": False},
    ]


def test_unknown_arm_names_the_nearest():
    with pytest.raises(UserError) as raised:
        experiment.arm_settings(small_config(original={}, hybrid={}), "hybird")
    assert str(raised.value) == (
        "arm: expected one of original, hybrid, received 'hybird' (did you mean 'hybrid'?)"
    )


def test_an_arm_with_an_unknown_section():
    with pytest.raises(UserError, match=r"arms\.a: expected one of data, .* \(did you mean 'plan'"):
        experiment.arm_settings(small_config(a=dict(plans=dict(epochs=3))), "a")


def test_the_plan_knows_the_number_of_examples(settings):
    assert experiment.make_plan(settings).num_examples == 1437


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        (dict(name="noise_plan"), r"plan\.name: .*\(did you mean 'noise_scale_plan'\?\)"),
        (dict(name=None), r"plan\.name: expected a name, received None"),
        (dict(epoch=3), r"plan: expected one of .*received 'epoch' \(did you mean 'epochs'\?\)"),
        (dict(strategy="increase_batc"), r"plan\.strategy: .*\(did you mean 'increase_batch'\?\)"),
        (dict(momentum=1), r"plan\.momentum: expected a number in \[0, 1\), received 1"),
    ],
)
def test_an_unusable_plan(changes, expected, settings):
    settings["plan"] |= changes
    with pytest.raises(UserError, match=expected):
        experiment.make_plan(settings)


@pytest.mark.parametrize("name", ["Adam", "AdamW", "Lion", "LAMB", "AdamP"])
def test_a_plans_momentum_for_an_optimizer_that_has_none(name, settings):
    """The history would have a different noise scale from the plan."""
    settings["optimizer"] = dict(name=name)
    with pytest.raises(UserError) as raised:
        experiment.make_plan(settings)
    assert str(raised.value) == (
        f"plan.momentum: expected 0, as {name} has no momentum coefficient, received 0.9"
    )
    settings["plan"]["momentum"] = 0.0
    assert experiment.make_plan(settings).momentum(0) == 0
    settings["plan"]["increased_momentum"] = 0.8  # would enlarge the batch for nothing
    with pytest.raises(UserError, match=r"^plan\.momentum: expected 0, .* received 0\.8$"):
        experiment.make_plan(settings)


@pytest.mark.parametrize("name", ["SGD", "RMSprop", "LARS", "SGDP", "RMSpropWarmup"])
def test_a_plans_momentum_for_an_optimizer_that_has_one(name, settings):
    settings["optimizer"] = dict(name=name)
    assert experiment.make_plan(settings).momentum(0) == 0.9


def test_a_plan_that_lacks_an_argument(settings):
    del settings["plan"]["learning_rate"]
    with pytest.raises(UserError, match=r"plan\.learning_rate: expected a value, received none"):
        experiment.make_plan(settings)


def test_seeds():
    config = small_config()
    assert experiment.seeds(config) == [0, 1, 2]
    assert experiment.seeds(config, 2) == [0, 1]
    config.first_seed = 100
    assert experiment.seeds(config, 2) == [100, 101]


def test_settings_are_plain(settings):
    assert not any(isinstance(section, ConfigDict) for section in settings.values())


@pytest.mark.parametrize("key", ["learning_rate", "momentum"])
def test_what_the_plan_sets_is_refused_in_the_optimizer_section(key):
    config = small_config(first={}, second=dict(optimizer={key: 0.5}))
    with pytest.raises(UserError) as error:
        experiment.make_plans(config)
    assert str(error.value) == (
        f"arm second: optimizer.{key}: expected none, as the plan sets it (plan.{key}), "
        "received 0.5"
    )


def test_seeds_have_the_same_maximum_as_numpys():
    config = small_config()
    config.first_seed = 2**32 - 2
    assert experiment.seeds(config, 2) == [2**32 - 2, 2**32 - 1]
    with pytest.raises(UserError, match="config.first_seed: expected 3 seeds up to 4294967295"):
        experiment.seeds(config, 3)
