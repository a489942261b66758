"""Builds data, model, optimizer, callbacks and nodes from names; what is refused."""

import numpy as np
import pytest

from lbkeras import config as common
from lbkeras import data
from lbkeras.errors import UserError
from lbkeras.optimizers import DecentLaM, GossipSGD
from lbkeras.runs import build, experiment
from lbkeras.trainers import StackedNodes
from tests.runs.small_config import small_config


@pytest.fixture
def settings():
    return experiment.arm_settings(small_config())


@pytest.fixture(scope="module")
def train():
    return data.load("digits", batch_size=20)


def test_pipelines_have_their_batch_sizes(settings):
    train, test = build.make_pipelines(settings, 20, seed=3, data_dir=None)
    assert (train.batch_size, train.seed, train.shuffle) == (20, 3, True)
    assert (test.batch_size, test.shuffle) == (360, False)


def test_a_held_out_part_of_the_training_split(settings):
    settings["data"] |= dict(train_split="train[:80%]", test_split="train[80%:]", num_examples=1150)
    train, held_out = build.make_pipelines(settings, 20, seed=3, data_dir=None)
    assert (train.num_examples, held_out.num_examples) == (1150, 287)
    assert train.shuffle and not held_out.shuffle


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        (dict(num_examples=1000), r"data\.num_examples: expected 1437 \(what digits 'train' holds\)"
         ", received 1000"),
        (dict(train_split="trian"), "'trian'"),
        (dict(train_split="train[:0]"), r"expected some images, received the empty 'train\[:0\]'"),
        (dict(test_split="validation"), "'validation'"),
        (dict(name="mnsit"), "unknown data set 'mnsit'.*did you mean 'mnist'"),
        (dict(augmentation="strong"), "augmentation: expected .*received 'strong'"),
        (dict(test_batch_size=0), "batch_size: expected"),
        (dict(shuffle="shards"), "data.shuffle: expected 'shards' only for .* for data in memory"),
    ],
)  # fmt: skip
def test_unusable_data(changes, expected, settings, tmp_path):
    settings["data"] |= changes
    with pytest.raises(UserError, match=expected):
        build.make_pipelines(settings, 20, seed=0, data_dir=str(tmp_path))


def test_a_missing_data_set_says_where_it_was_searched_and_how_to_get_it(settings, tmp_path):
    settings["data"] |= dict(name="cifar10")
    with pytest.raises(UserError) as raised:
        build.make_pipelines(settings, 20, seed=0, data_dir=str(tmp_path))
    assert all(part in str(raised.value) for part in ("'cifar10'", str(tmp_path), "tfds build"))


@pytest.mark.parametrize("key", ["image_size", "resize"])
def test_a_data_set_in_memory_has_its_size(key, settings):
    settings["data"] |= {key: None}  # as in a config that does not set it
    build.make_pipelines(settings, 20, seed=0, data_dir=None)
    settings["data"] |= {key: 64}
    with pytest.raises(UserError, match=rf"^data\.{key}: expected none, as 'digits' is not an"):
        build.make_pipelines(settings, 20, seed=0, data_dir=None)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        (dict(name="mpl"), r"model\.name: .*\(did you mean 'mlp'\?\)"),
        (dict(widths=3), r"model: expected one of input_shape, .*received 'widths'"),
        (dict(num_classes=5), r"model\.num_classes: expected at least 10 \(the labels of digits go "
         r"up to 9\), received 5"),
        (dict(num_classes=-1), r"model\.num_classes: expected a whole number of at least 1, .* -1"),
        (dict(hidden_sizes=("a",)), "model"),
    ],
)  # fmt: skip
def test_an_unusable_model(changes, expected, settings, train):
    settings["model"] |= changes
    with pytest.raises(UserError, match=expected):
        build.make_model(settings, train)


def test_the_model_has_the_shape_of_the_data(settings, train):
    model = build.make_model(settings, train)
    assert (model.input_shape, model.output_shape) == ((None, 8, 8, 1), (None, 10))


def test_the_optimizer_has_the_plans_momentum_and_learning_rate(settings):
    plan = experiment.make_plan(settings)
    optimizer = build.make_optimizer(settings, plan)
    assert (optimizer.momentum, optimizer.nesterov) == (0.9, True)
    assert float(optimizer.learning_rate) == pytest.approx(0.1)


def test_lbkeras_optimizers_come_before_those_of_keras(settings, monkeypatch):
    import keras

    import lbkeras.optimizers

    class SGD(keras.optimizers.SGD):
        pass

    monkeypatch.setattr(lbkeras.optimizers, "SGD", SGD, raising=False)
    monkeypatch.setattr(lbkeras.optimizers, "__all__", ["SGD"], raising=False)
    assert type(build.make_optimizer(settings, experiment.make_plan(settings))) is SGD


@pytest.mark.parametrize(
    ("optimizer", "expected"),
    [
        (dict(name="SDG"), r"optimizer\.name: .*received 'SDG' \(did you mean 'SGD'\?\)"),
        (dict(name="SGD", nestorov=True), "optimizer: .*nestorov"),
    ],
)
def test_an_unusable_optimizer(optimizer, expected, settings):
    settings["optimizer"] = optimizer
    with pytest.raises(UserError, match=expected):
        build.make_optimizer(settings, experiment.make_plan(settings))


def test_labels_to_smooth_are_class_numbers_too(settings, train):
    settings["model"] |= dict(num_classes=5)
    settings["loss"] = dict(name="LabelSmoothingCrossentropy", label_smoothing=0.1)
    with pytest.raises(UserError, match=r"model\.num_classes: expected at least 10"):
        build.make_model(settings, train)


@pytest.mark.parametrize(("size", "expected"), [(10, 10), (0, None), (None, None)])
def test_any_model_can_have_ghost_batch_normalization(size, expected, settings, train):
    settings["model"] = dict(
        name="small_cnn", num_classes=10, width=2, batch_normalization=True, ghost_batch_size=size
    )
    model = build.make_model(settings, train)
    norms = [layer for layer in model.layers if "BatchNorm" in type(layer).__name__]
    assert [getattr(layer, "ghost_batch_size", None) for layer in norms] == [expected] * 2


def test_a_model_that_takes_a_ghost_batch_size_gets_it(settings, train, monkeypatch):
    from lbkeras import models

    received = []

    def own(input_shape, num_classes, ghost_batch_size=None):
        received.append(ghost_batch_size)
        return models.mlp(input_shape, num_classes)

    monkeypatch.setattr(models, "own", own, raising=False)
    monkeypatch.setattr(models, "__all__", [*models.__all__, "own"])
    settings["model"] = dict(name="own", num_classes=10, ghost_batch_size=7)
    build.make_model(settings, train)
    assert received == [7]


def test_ghosts_need_a_batch_normalization_and_a_size(settings, train):
    settings["model"] |= dict(ghost_batch_size=10)
    with pytest.raises(UserError, match="^model: expected one with batch normalization, received"):
        build.make_model(settings, train)
    settings["model"] = dict(
        name="small_cnn", num_classes=10, batch_normalization=True, ghost_batch_size=-1
    )
    with pytest.raises(UserError, match="^model.ghost_batch_size: expected .*received -1"):
        build.make_model(settings, train)


def test_callbacks_are_merged_by_name_and_get_what_the_run_knows(train, tmp_path):
    config = small_config(
        first={}, second=dict(callbacks=dict(MicroBatches=dict(micro_batch_size=4)))
    )
    assert "callbacks" not in experiment.arm_settings(config, "first")
    settings = experiment.arm_settings(config, "second")
    (callback,) = build.make_callbacks(settings, tmp_path, pipeline=train, seed=3)
    assert callback.pipeline is train and callback.micro_batch_size == 4
    assert callback.file == tmp_path / "micro_batches.json"

    config.arms.second.callbacks.MicroBatches.unlock()
    config.arms.second.callbacks.MicroBatches.micro_batch_size = 0
    settings = experiment.arm_settings(config, "second")
    with pytest.raises(UserError) as raised:
        build.make_callbacks(settings, tmp_path, pipeline=train)
    assert str(raised.value) == (
        "callbacks.MicroBatches.micro_batch_size: expected at least 1, received 0"
    )
    with pytest.raises(UserError, match="callbacks: expected one of .*did you mean 'MicroBatches'"):
        build.make_callbacks({"callbacks": {"MicroBatch": {}}}, tmp_path, pipeline=train)
    with pytest.raises(UserError, match="callbacks.MicroBatches: expected one of .*'size'"):
        arguments = {"callbacks": {"MicroBatches": {"size": 1}}}
        build.make_callbacks(arguments, tmp_path, pipeline=train)


def test_a_steered_optimizer_gets_a_number(settings):
    optimizer = build.make_optimizer(settings, experiment.make_plan(settings), steered=True)
    assert float(optimizer.learning_rate) == pytest.approx(0.1)


DECENTLAM = dict(name="DecentLaM", num_nodes=4, topology="ring")


def _node_settings(optimizer=None, batch_size=256, **data):
    config = common.experiment(
        data=dict(name="digits", num_examples=1436, dirichlet_alpha=0.1) | data,
        model=dict(name="mlp", num_classes=10, hidden_sizes=(8,)),
        optimizer=optimizer or DECENTLAM,
        plan=dict(name="cosine_plan", epochs=2, batch_size=batch_size, learning_rate=0.1,
                  momentum=0.8),
        arms=dict(only=dict(description="the only one")),
    )  # fmt: skip
    return experiment.arm_settings(config)


def test_the_model_has_nodes_and_the_optimizer_their_topology():
    settings = _node_settings()
    train, test = build.make_pipelines(settings, 256, seed=3, data_dir=None)
    assert (train.num_examples, test.num_examples) == (1436, 360)
    model = build.make_model(settings, train)
    assert isinstance(model, StackedNodes) and model.num_nodes == 4
    optimizer = build.make_optimizer(settings, experiment.make_plan(settings))
    assert isinstance(optimizer, DecentLaM) and optimizer.momentum == 0.8
    assert optimizer.mixing[0] == pytest.approx([1 / 3, 1 / 3, 0, 1 / 3])
    settings = _node_settings(dict(name="GossipSGD", num_nodes=4, seed=9))
    optimizer = build.make_optimizer(settings, experiment.make_plan(settings))
    assert isinstance(optimizer, GossipSGD) and (optimizer.num_nodes, optimizer.seed) == (4, 9)


def test_labels_of_the_shards_follow_the_concentration_and_the_seed():
    def shares(concentration, seed=0):
        settings = _node_settings(dirichlet_alpha=concentration, num_examples=1436)
        train, _ = build.make_pipelines(settings, 256, seed, None)
        labels = np.concatenate([y.numpy().reshape(4, 64) for _, y in train.dataset()], axis=1)
        return np.array([np.bincount(node, minlength=10) for node in labels]) / labels.shape[1]

    assert np.ptp(shares(0.1), axis=0).max() > 0.3 > np.ptp(shares(100.0), axis=0).max()
    assert np.any(shares(0.1) != shares(0.1, seed=1))
    settings = _node_settings(dirichlet_alpha=0.0, num_examples=1437)
    assert build.make_pipelines(settings, 256, 0, None)[0].num_examples == 1437


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
def test_messages_about_nodes(change, message):
    with pytest.raises(UserError, match=message):
        settings = _node_settings(**change)
        plan = experiment.make_plan(settings)
        build.make_optimizer(settings, plan)
        build.make_pipelines(settings, 256, 0, None)


def test_several_replicas_are_refused(mirrored):
    settings = _node_settings()
    train, _ = build.make_pipelines(settings, 256, 0, None)
    with mirrored.scope(), pytest.raises(UserError, match="^strategy: expected one device for opt"):
        build.make_model(settings, train)
