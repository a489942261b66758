"""DecentLaM's arms differ in the exchange only."""

from pathlib import Path

import pytest

from lbkeras.cli.config_files import config_module, load_config
from lbkeras.runs import build, experiment

YUAN = Path(__file__).parents[2] / "configs" / "papers" / "yuan2021_decentlam.py"


def _settings(variant):
    config = load_config(f"{YUAN}:{variant}")
    return {arm: experiment.arm_settings(config, arm) for arm in config.arms}


@pytest.mark.parametrize("variant", ["digits", "mnist"])
def test_arms_of_a_batch_size_differ_in_the_exchange_only(variant):
    by_size = {}
    for settings in _settings(variant).values():
        by_size.setdefault(settings["plan"]["batch_size"], []).append(settings)
    assert len(by_size) == 3
    for arms in by_size.values():
        for settings in arms:
            optimizer = settings["optimizer"] | {"name": "", "topology": ""}
            first = arms[0]["optimizer"] | {"name": "", "topology": ""}
            assert optimizer == first and first["num_nodes"] == 16
            for section in ("data", "model", "plan"):
                assert settings[section] == arms[0][section]
        kinds = {(s["optimizer"]["name"], s["optimizer"]["topology"]) for s in arms}
        assert {("DmSGD", "complete"), ("DmSGD", "ring"), ("DecentLaM", "ring")} <= kinds


def test_the_nodes_shards_of_digits_have_the_size_that_the_config_says():
    settings = next(iter(_settings("digits").values()))
    train, test = build.make_pipelines(settings, 64, seed=0, data_dir=None)
    assert (train.num_examples, test.num_examples) == (1424, 360)


def test_papers_numbers_belong_to_arms():
    arms = load_config(f"{YUAN}:imagenet_resnet50").arms
    assert set(config_module(str(YUAN)).PAPER["arms"]) <= set(arms)
