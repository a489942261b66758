import math

import pytest

from lbkeras.errors import UserError
from lbkeras.schedules import linear_scaling, square_root_scaling
from lbkeras.schedules.scaling import no_scaling, scaling_rule


def test_goyal():
    assert linear_scaling(0.1, 8192, 256) == pytest.approx(3.2)


def test_square_root():
    # Goyal's ablation lists 0.1·√32 for a batch of 8k.
    assert square_root_scaling(0.1, 8192, 256) == pytest.approx(0.1 * math.sqrt(32))


@pytest.mark.parametrize("rule", [linear_scaling, square_root_scaling])
def test_scaling_up_and_down_again(rule):
    assert rule(rule(0.3, 96, 32), 32, 96) == pytest.approx(0.3)


def test_rules_by_name():
    rates = {name: scaling_rule(name)(0.2, 144, 16) for name in ("linear", "square_root", "none")}
    assert rates == pytest.approx({"linear": 1.8, "square_root": 0.6, "none": 0.2})
    with pytest.raises(UserError) as error:
        scaling_rule("quadratic")
    assert str(error.value) == (
        "scaling: expected one of 'square_root', 'linear', 'none', received 'quadratic'"
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((0, 8, 8), "learning_rate: expected a finite number above 0, received 0"),
        ((0.1, 0, 8), "batch_size: expected a whole number of at least 1, received 0"),
        ((0.1, 8, 0), "base_batch_size: expected a whole number of at least 1, received 0"),
    ],
)
def test_message(arguments, message):
    for rule in (linear_scaling, square_root_scaling, no_scaling):
        with pytest.raises(UserError) as error:
            rule(*arguments)
        assert str(error.value) == message
