import math

import pytest

from lbkeras.errors import UserError
from lbkeras.methods.auto_wu.plan import decay_from
from lbkeras.planning import Plan, auto_wu_plan

ARGUMENTS = dict(epochs=20, batch_size=32, momentum=0.9, num_examples=320)


@pytest.mark.parametrize("decay", ["cosine", "constant_then_cosine"])
def test_the_longest_warm_up_and_its_decay(decay):
    plan = auto_wu_plan(**ARGUMENTS, decay=decay, max_learning_rate=0.5)
    for epoch in (0, 0.1, 4, 9.9):
        expected = 1e-5 * math.exp(math.log(0.5 / 1e-5) * epoch / 10)
        assert plan.learning_rate(epoch) == pytest.approx(expected, rel=1e-12)
    start = 10 if decay == "cosine" else 16
    for epoch in (10, 13, 16, 18.5, 20):
        done = max(epoch - start, 0) / (20 - start)
        expected = 0.5 * (1 + math.cos(math.pi * done)) / 2
        assert plan.learning_rate(epoch) == pytest.approx(expected, abs=1e-12)
    assert plan.updates() == 200
    assert Plan.from_dict(plan.to_dict()) == plan


@pytest.mark.parametrize("decay", ["cosine", "constant_then_cosine"])
@pytest.mark.parametrize("epoch", [3, 7, 10])
def test_an_early_decay(decay, epoch):
    plan = auto_wu_plan(**ARGUMENTS, decay=decay)
    curve = decay_from(plan.curve, epoch, 0.01)
    for early in (0, 1.5, 2.9):
        assert curve(early) == pytest.approx(plan.learning_rate(early), rel=1e-12)
    start = epoch if decay == "cosine" else 16
    for late in (epoch, 11, 16, 19.5, 20):
        done = max(late - start, 0) / (20 - start)
        expected = 0.01 * (1 + math.cos(math.pi * done)) / 2
        assert curve(late) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("fraction, least", [(0.5, 6), (0.3, 10), (0.25, 12), (0.4, 8), (0.9, 4)])
def test_the_fewest_epochs(fraction, least):
    auto_wu_plan(**ARGUMENTS | dict(epochs=least), max_warmup_fraction=fraction)
    with pytest.raises(
        UserError, match=f"epochs: expected at least {least} .*received {least - 1}"
    ):
        auto_wu_plan(**ARGUMENTS | dict(epochs=least - 1), max_warmup_fraction=fraction)


@pytest.mark.parametrize(
    "arguments, message",
    [
        (
            dict(max_learning_rate=1e-6),
            "max_learning_rate: expected a finite number above min_learning_rate=1e-05, "
            "received 1e-06",
        ),
        (dict(min_learning_rate=0), "min_learning_rate: expected a finite number above 0"),
        (dict(max_warmup_fraction=1.0), "max_warmup_fraction: expected a number in"),
        (dict(decay="cosinus"), "decay: expected one of 'cosine'.*did you mean 'cosine'"),
        (
            dict(decay="constant_then_cosine", cooldown_fraction=0.6),
            "cooldown_fraction: expected a number above 0, below 0.5",
        ),
    ],
)
def test_errors(arguments, message):
    with pytest.raises(UserError, match=message):
        auto_wu_plan(**ARGUMENTS | arguments)
