"""What the advisor refuses."""

import pytest

from lbkeras import config
from lbkeras.advice import advisor
from lbkeras.errors import UserError

SETTINGS = config.experiment(
    data=dict(name="digits", num_examples=400),
    model=dict(name="mlp"),
    optimizer=dict(name="SGD"),
    plan=dict(
        name="explicit_plan",
        phases=[dict(first_epoch=0, epochs=6, batch_size=10, learning_rate=0.1, momentum=0.9)],
    ),
    arms={},
).to_dict()


def refused(**sections):
    with pytest.raises(UserError) as error:
        advisor.check_arm(SETTINGS | sections, "small")
    return str(error.value)


def test_what_it_refuses():
    plan = SETTINGS["plan"]
    short = [plan["phases"][0] | dict(epochs=1)]
    assert refused(plan=plan | dict(phases=short)) == (
        "plan: expected more than the 2 epochs that are measured at least, received 1"
    )
    assert refused(data=SETTINGS["data"] | dict(num_examples=63)) == (
        "data.num_examples: expected at least 64 examples to measure the noise scale, received 63"
    )
    assert refused(optimizer=dict(name="DmSGD", num_nodes=2)) == (
        "--arm: expected an arm that trains one model, received 'small' with "
        "optimizer.num_nodes=2, one model per node; --auto does not support decentralized training"
    )
    assert refused(callbacks=dict(GradientNoiseScale={}, AdaptiveBatchSize={})) == (
        "--arm: expected an arm whose plan sets the batch size, received 'small', where "
        "callbacks.AdaptiveBatchSize sets it during training"
    )
    assert "learning rate" in refused(callbacks=dict(AutoWU={}))
    advisor.check_arm(SETTINGS | dict(callbacks=dict(GradientNoiseScale={})), "small")
