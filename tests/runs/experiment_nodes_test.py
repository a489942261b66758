"""How a config asks for nodes, and that such a run goes through and records their distance."""

import json

import numpy as np
import pytest

from lbkeras import config as common
from lbkeras.errors import UserError
from lbkeras.optimizers import DecentLaM, GossipSGD
from lbkeras.runs import experiment, training
from lbkeras.trainers import StackedNodes

DECENTLAM = dict(name="DecentLaM", num_nodes=4, topology="ring")


def _settings(optimizer=None, batch_size=256, **data):
    config = common.experiment(
        data=dict(name="digits", num_examples=1436, label_concentration=0.1) | data,
        model=dict(name="mlp", num_classes=10, hidden_sizes=(8,)),
        optimizer=optimizer or DECENTLAM,
        plan=dict(name="cosine_plan", epochs=2, batch_size=batch_size, learning_rate=0.1,
                  momentum=0.8),
        arms=dict(only=dict(description="the only one")),
    )  # fmt: skip
    return experiment.arm_settings(config)


def test_the_model_has_nodes_and_the_optimizer_their_topology():
    settings = _settings()
    train, test = experiment.make_pipelines(settings, 256, seed=3, data_dir=None)
    assert (train.num_examples, test.num_examples) == (1436, 360)
    model = experiment.make_model(settings, train)
    assert isinstance(model, StackedNodes) and model.num_nodes == 4
    optimizer = experiment.make_optimizer(settings, experiment.make_plan(settings))
    assert isinstance(optimizer, DecentLaM) and optimizer.momentum == 0.8
    assert optimizer.mixing[0] == pytest.approx([1 / 3, 1 / 3, 0, 1 / 3])
    settings = _settings(dict(name="GossipSGD", num_nodes=4, seed=9))
    optimizer = experiment.make_optimizer(settings, experiment.make_plan(settings))
    assert isinstance(optimizer, GossipSGD) and (optimizer.num_nodes, optimizer.seed) == (4, 9)


def test_labels_of_the_parts_follow_the_concentration_and_the_seed():
    def shares(concentration, seed=0):
        settings = _settings(label_concentration=concentration, num_examples=1436)
        train, _ = experiment.make_pipelines(settings, 256, seed, None)
        labels = np.concatenate([y.numpy().reshape(4, 64) for _, y in train.dataset()], axis=1)
        return np.array([np.bincount(node, minlength=10) for node in labels]) / labels.shape[1]

    assert np.ptp(shares(0.1), axis=0).max() > 0.3 > np.ptp(shares(100.0), axis=0).max()
    assert np.any(shares(0.1) != shares(0.1, seed=1))
    settings = _settings(label_concentration=0.0, num_examples=1437)
    assert experiment.make_pipelines(settings, 256, 0, None)[0].num_examples == 1437


@pytest.mark.slow
def test_a_run_records_the_distance_of_its_nodes(tmp_path):
    run = training.Run(_settings(), "only", 0, tmp_path / "run", "config", "command")
    record = training.train(run)
    rows = [json.loads(line) for line in (tmp_path / "run" / "history.jsonl").open()]
    assert record["status"] == "finished" and record["updates"] == 10
    assert record["final"]["consensus_distance"] == rows[-1]["consensus_distance"] > 0


@pytest.mark.parametrize(
    "change, message",
    [
        (dict(batch_size=258), "^phase 1 .*batch size: expected a multiple of the 4 nodes, .* 258"),
        (
            dict(optimizer=DECENTLAM | dict(topology="rings")),
            "^optimizer.topology: expected one of ring, grid, .*'rings' .did you mean 'ring'",
        ),
        (
            dict(optimizer=dict(name="DecentLaM", num_nodes=4)),
            "^optimizer.topology: expected a value, received none",
        ),
        (
            dict(optimizer=DECENTLAM | dict(num_nodes=0)),
            "^optimizer.num_nodes: expected at least 1, received 0",
        ),
        (dict(num_examples=1437), "^data.num_examples: expected 1436 .*in 4 equal parts.*1437"),
    ],
)
def test_messages(change, message):
    with pytest.raises(UserError, match=message):
        settings = _settings(**change)
        plan = experiment.make_plan(settings)
        experiment.make_optimizer(settings, plan)
        experiment.make_pipelines(settings, 256, 0, None)


def test_several_replicas_are_refused(mirrored):
    settings = _settings()
    train, _ = experiment.make_pipelines(settings, 256, 0, None)
    with mirrored.scope(), pytest.raises(UserError, match="^strategy: expected one device for opt"):
        experiment.make_model(settings, train)
