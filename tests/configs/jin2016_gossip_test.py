"""Jin's arms: a node takes as many examples with few nodes as with many."""

from pathlib import Path

import pytest

from lbkeras.cli.config_files import load_config
from lbkeras.runs import experiment

JIN = Path(__file__).parents[2] / "configs" / "papers" / "jin2016_gossip.py"


@pytest.mark.parametrize("variant, examples", [("digits", 8), ("mnist", 32)])
def test_methods_differ_in_the_exchange_and_the_rate_only(variant, examples):
    config = load_config(f"{JIN}:{variant}")
    settings = {arm: experiment.arm_settings(config, arm) for arm in config.arms}
    assert len(settings) == 6
    for arm, given in settings.items():
        nodes = int(arm.rsplit("_", 1)[1])
        assert given["optimizer"]["num_nodes"] == nodes
        assert given["plan"]["batch_size"] == nodes * examples
        first = settings["all_reduce_4"]
        assert given["data"] == first["data"] and given["model"] == first["model"]
        ignored = {"batch_size": 0, "learning_rate": 0}
        assert given["plan"] | ignored == first["plan"] | ignored
