"""Functions that configs are written with."""

import math

import pytest
from ml_collections import ConfigDict

from lbkeras import config
from lbkeras.errors import UserError


def test_a_variant_is_made_when_it_is_asked_for():
    made = []
    get_config = config.variants(digits=lambda: made.append("digits"), mnist=lambda: "mnist")
    assert not made and get_config("mnist") == "mnist" and not made
    get_config(), get_config("")
    assert made == ["digits", "digits"]
    with pytest.raises(UserError) as error:
        get_config("minst")
    assert str(error.value) == (
        "variant: expected one of digits, mnist, received 'minst' (did you mean 'mnist'?)"
    )


def test_a_tuning_has_other_data_and_seeds():
    sections = dict(
        data=dict(name="digits", num_examples=1437),
        model={},
        optimizer={},
        plan={},
        arms=dict(a={}),
    )
    reports = config.experiment(**sections, first_seed=10)
    tunes = config.experiment(**sections, first_seed=10, tuning=True)
    assert (reports.first_seed, tunes.first_seed) == (10, 100)
    assert (reports.data.train_split, reports.data.num_examples) == ("train", 1437)
    assert (tunes.data.train_split, tunes.data.test_split) == ("train[:80%]", "train[80%:]")
    assert tunes.data.num_examples == 1150


def test_the_arms_of_a_tuning_are_named_by_their_rate():
    rates = config.rates_around(0.04)
    assert rates == pytest.approx([0.01, 0.02, 0.04, 0.08, 0.16])
    assert config.rate_arm("sgd_32", rates[0]) == "sgd_32_rate_0_01"


@pytest.mark.parametrize("number", [8, 16, 40])
def test_trials_fill_their_ranges(number):
    ranges = dict(a=(1e-4, 1.0), b=(0.01, 0.3), c=(0.0, 0.5, "linear"), d=(2.0, 4.0, "linear"))
    tried = config.trials(number, **ranges)
    assert len({tuple(each.values()) for each in tried}) == number
    assert tried[0] == dict(a=0.01, b=0.0548, c=0.25, d=3.0)  # the middle: √(0.01 · 0.3) = 0.0548
    assert tried == config.trials(number, **ranges)
    for name, (least, most, *scale) in ranges.items():
        shares = [
            (v - least) / (most - least) if scale else math.log(v / least, most / least)
            for v in sorted(each[name] for each in tried[1:])
        ]
        expected = [(part + 0.5) / (number - 1) for part in range(number - 1)]
        assert shares == pytest.approx(expected, abs=0.003)  # three digits


SHORT = dict(
    data=dict(name="digits", num_examples=1437),
    model=dict(name="mlp", num_classes=10),
    plan=dict(name="cosine_plan", epochs=2, batch_size=32, learning_rate=0.1, momentum=0.9),
)


def test_defaults_are_the_loaders():
    made = config.complete(SHORT)
    assert made == config.experiment(**SHORT)
    assert (made.optimizer.name, list(made.arms), made.seeds) == ("SGD", ["own"], 3)
    assert made.data.train_split == "train" and made.data.test_batch_size == 1000
    assert made.loss.to_dict() == config.LOSS and made.metrics.to_dict() == {"accuracy": {}}
    assert config.complete(made) is made
    again = config.complete(ConfigDict(SHORT))
    assert again.to_dict() == made.to_dict()


def test_accuracy_is_measured_if_the_loss_classifies():
    def metrics(**loss):
        return config.complete(SHORT | dict(loss=loss)).metrics.to_dict()

    assert metrics(name="BinaryCrossentropy") == {"accuracy": {}}
    assert metrics(name="categorical_crossentropy") == {"accuracy": {}}
    assert metrics(name="MeanSquaredError") == metrics(name="mine:loss") == {}
    assert metrics(digit=dict(name="BinaryCrossentropy")) == {}


def test_metrics_may_be_a_list_and_keep_their_order():
    metrics = ["mse", "accuracy", "my.parts:share"]
    made = config.complete(SHORT | dict(metrics=metrics, arms=dict(b={}, a=dict(metrics="AUC"))))
    assert list(made.metrics) == ["mse", "accuracy", "share"]
    assert made.metrics.share.name == "my.parts:share"
    assert list(made.arms) == ["b", "a"] and made.arms.a.metrics.to_dict() == {"AUC": {}}


def own_function():
    """A function that a config refers to directly."""


def test_a_function_is_replaced_by_its_name():
    data = dict(name=own_function, num_examples=3, augmentation=own_function)
    made = config.complete(SHORT | dict(data=data, arms=dict(a=dict(model=dict(name=ConfigDict)))))
    assert made.data.name == made.data.augmentation == f"{__name__}:own_function"
    assert made.arms.a.model.name == "ml_collections.config_dict.config_dict:ConfigDict"
    assert "train_split" not in made.data and made.data.test_batch_size == 1000
    with pytest.raises(UserError, match="expected functions at the top of a module, .*<lambda>"):
        config.complete(SHORT | dict(model=dict(name=lambda: None)))
