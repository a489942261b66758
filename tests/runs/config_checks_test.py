"""The names and numbers of a config that are refused."""

import re

import keras
import pytest
from ml_collections import ConfigDict

from lbkeras import callbacks
from lbkeras import config as common
from lbkeras.errors import UserError
from lbkeras.runs import config_checks

CONFIG = common.experiment(
    data=dict(name="digits", num_examples=1437),
    model=dict(name="mlp"),
    optimizer=dict(name="SGD"),
    plan=dict(name="cosine_plan"),
    arms=dict(first={}),
).to_dict()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (dict(model=3), "config.model: expected a section of keys and values, received 3"),
        (dict(arms={}), "config.arms: expected at least one arm, received none"),
        (dict(arms=dict(a=1)), "config.arms.a: expected a section of keys and values, received 1"),
        (
            dict(arms=dict(a=dict(plan=1))),
            "config.arms.a.plan: expected a section of keys and values, received 1",
        ),
        (
            {"arms": {"/a": {}}},
            "config.arms: expected names of folders, received '/a'",
        ),
        (dict(modle=dict(name="mlp")), "config: expected one of data, model, .*received 'modle'"),
        (dict(seeds=0), "config.seeds: expected a whole number from 1 to .*, received 0"),
        (dict(seeds=True), "config.seeds: expected a whole number .*, received True"),
        (dict(first_seed=2**32), "config.first_seed: expected a whole number from 0 to 4294967295"),
        (dict(steps_per_execution=-1), "config.steps_per_execution: expected .*, received -1"),
        (dict(steps_per_execution=1.5), "config.steps_per_execution: expected .*, received 1.5"),
        (dict(checkpoint_minutes="1"), "config.checkpoint_minutes: expected a number .*, rec"),
        (dict(checkpoint_minutes=float("nan")), "config.checkpoint_minutes: expected a number"),
    ],
)
def test_values_outside_the_sections(changes, message):
    config = ConfigDict(CONFIG | changes)
    with pytest.raises(UserError, match=message):
        config_checks.check_config(config)


def test_every_name_of_a_callback_is_a_callback():
    with pytest.raises(UserError, match="^callbacks: expected one of") as error:
        config_checks.check_settings({**CONFIG, "callbacks": {"Nothing": {}}})
    offered = re.search("expected one of (.*), received", str(error.value))[1].split(", ")
    assert {"AutoWU", "EarlyStopping"} < set(offered) and offered.pop() == "module:function"
    for name in offered:
        found = getattr(callbacks if name in callbacks.__all__ else keras.callbacks, name)
        assert issubclass(found, keras.callbacks.Callback)
