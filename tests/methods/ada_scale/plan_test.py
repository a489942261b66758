"""AdaScale's longest run makes the base run's updates at its learning rates."""

import pytest

from lbkeras.errors import UserError
from lbkeras.planning import ada_scale_plan, legw_plan

BASE = dict(epochs=12, base_batch_size=8, base_learning_rate=0.4, momentum=0.9, num_examples=1437)
DECAYS = [
    dict(),
    dict(decay="polynomial", power=1.0),
    dict(decay="exponential", factor=100.0),
    dict(decay="steps", boundaries=(3, 7), factor=5.0),
]


@pytest.mark.parametrize("decay", DECAYS, ids=lambda decay: decay.get("decay", "constant"))
@pytest.mark.parametrize("batch_size", [8, 12, 100, 1437])
def test_the_longest_run_goes_through_the_base_runs_updates(batch_size, decay):
    plan = ada_scale_plan(batch_size=batch_size, **BASE, **decay)
    assert plan.base == legw_plan(batch_size=8, base_warmup_epochs=0.0, **BASE, **decay)
    assert plan.base.updates() == 12 * 179
    steps = 1437 // batch_size
    assert plan.batch_size(0) == batch_size and plan.momentum(0) == 0.9
    assert 0 <= plan.updates() - plan.base.updates() < steps
    for share in (0, 0.1, 0.3, 0.5, 0.77, 1):  # of both runs, away from the edges of the steps
        expected = plan.base.learning_rate(12 * share)
        assert plan.learning_rate(plan.epochs * share) == pytest.approx(expected)


def test_the_base_batch_size_itself_is_the_base_run():
    plan = ada_scale_plan(batch_size=8, decay="polynomial", **BASE)
    assert plan.to_dict() == plan.base.to_dict()


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (dict(batch_size=4), "batch_size: expected at least base_batch_size=8, received 4"),
        (dict(batch_size=2000), "batch_size: expected at most num_examples=1437, received 2000"),
        (dict(batch_size=64.5), "batch_size: expected a whole number"),
        (dict(epochs=0), "epochs: expected"),
        (dict(base_batch_size=0), "^base_batch_size: expected"),
        (dict(base_learning_rate=-1.0), "base_learning_rate: expected"),
        (dict(decay="cosine"), "decay: expected one of 'constant', 'polynomial'"),
        (dict(decay="steps"), "boundaries: expected epochs of the steps"),
    ],
)
def test_errors(wrong, message):
    with pytest.raises(UserError, match=message):
        ada_scale_plan(**BASE | dict(batch_size=64) | wrong)
