"""What configs are written with."""

import pytest

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
