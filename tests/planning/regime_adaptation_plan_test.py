import pytest

from lbkeras.errors import UserError
from lbkeras.planning import regime_adaptation_plan, steps_plan

SMALL = dict(
    epochs=200, boundaries=(81, 122, 164), learning_rates=(0.1, 0.01, 0.001, 0.0001),
    base_batch_size=128, momentum=0.9, num_examples=51_200,
)  # fmt: skip


def _stretches(plan):
    return [(phase.first_epoch, phase.epochs) for phase in plan.phases]


def test_the_large_batch_makes_as_many_updates_per_phase_as_the_small_one():
    small = regime_adaptation_plan(**SMALL, batch_size=128)
    large = regime_adaptation_plan(**SMALL, batch_size=2048)
    assert large.epochs == 16 * 200
    assert _stretches(large) == [(0, 1296), (1296, 656), (1952, 672), (2624, 576)]
    assert large.updates() == small.updates() == 200 * 400
    for ours, theirs in zip(large.phases, small.phases, strict=True):
        assert large.first_update(ours.first_epoch) == small.first_update(theirs.first_epoch)
        assert ours.learning_rate == pytest.approx(4 * theirs.learning_rate)


def test_the_small_batchs_own_plan_is_its_regime():
    regime = {key: value for key, value in SMALL.items() if key != "base_batch_size"}
    assert regime_adaptation_plan(**SMALL, batch_size=128) == steps_plan(**regime, batch_size=128)


def test_epochs_are_rounded_up():
    assert regime_adaptation_plan(**SMALL, batch_size=129).epochs == 400
    assert regime_adaptation_plan(**SMALL, batch_size=64).epochs == 200


@pytest.mark.parametrize(
    ("scaling", "rate"), [("none", 0.1), ("square_root", 0.4), ("linear", 1.6)]
)
def test_scaling_without_adaptation(scaling, rate):
    plan = regime_adaptation_plan(**SMALL, batch_size=2048, scaling=scaling, adapt_regime=False)
    assert plan.epochs == 200 and plan.phases[1].first_epoch == 81
    assert plan.learning_rate(0) == pytest.approx(rate)
    assert plan.learning_rate(81) == pytest.approx(rate / 10)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (dict(scaling="sqrt"),
         "scaling: expected one of 'square_root', 'linear', 'none', received 'sqrt'"),
        (dict(adapt_regime=1), "adapt_regime: expected True or False, received 1"),
        (dict(epochs=0), "epochs: expected a whole number of at least 1, received 0"),
        (dict(boundaries=(81, 81, 90)),
         "boundaries: expected epochs in increasing order inside (0, 200), received (81, 81, 90)"),
        (dict(learning_rates=(0.1,)),
         "learning_rates: expected 4, one more than boundaries, received 1"),
        (dict(learning_rates=(0.1, 0.1, 0.1, 0)),
         "learning_rates[3]: expected a finite number above 0, received 0"),
        (dict(base_batch_size=0),
         "base_batch_size: expected a whole number of at least 1, received 0"),
        (dict(batch_size=60_000), "batch_size: expected at most num_examples=51200, "
         "received 60000"),
    ],
)  # fmt: skip
def test_message(changes, message):
    with pytest.raises(UserError) as error:
        regime_adaptation_plan(**(SMALL | dict(batch_size=2048) | changes))
    assert str(error.value) == message
