"""Checkpoints of a different model, optimizer or data set are refused."""

import keras
import numpy as np
import pytest

from lbkeras.callbacks import Checkpoint
from lbkeras.data import Pipeline
from lbkeras.errors import UserError
from tests.callbacks.checkpoint_state import with_state
from tests.data.examples import Items

OPTIMIZERS = {
    "SGD": lambda: keras.optimizers.SGD(0.1),
    "momentum": lambda: keras.optimizers.SGD(0.1, momentum=0.9),
    "RMSprop": lambda: keras.optimizers.RMSprop(),
    "scaled": lambda: keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD(0.1)),
}


def small(optimizer, units=(2, 3)):
    layers = [keras.layers.Dense(number) for number in units]
    model = keras.Sequential([keras.Input((4,)), *layers])
    model.compile(optimizer, "mse")
    return model


def written(directory, model, step=0):
    """Writes a checkpoint of a model, inside an epoch or at its end."""
    train = Pipeline((np.zeros((8, 4)), np.zeros((8, 3))), 2)
    checkpoint = Checkpoint(directory, train)
    checkpoint.set_model(model)
    model.optimizer.build(model.trainable_variables)
    checkpoint.save(0, step)


@pytest.mark.parametrize(
    "theirs, ours",
    [("momentum", "SGD"), ("momentum", "RMSprop"), ("RMSprop", "momentum"), ("scaled", "SGD")],
)
def test_state_of_another_optimizer_with_the_same_shapes_is_refused(theirs, ours, tmp_path):
    written(tmp_path, small(OPTIMIZERS[theirs]()))
    checkpoint = Checkpoint(tmp_path, Pipeline((np.zeros((8, 4)), np.zeros((8, 3))), 2))
    with pytest.raises(UserError, match="expected one of this model and optimizer.*received"):
        checkpoint.restore(small(OPTIMIZERS[ours]()))


def test_state_of_a_deeper_model_is_refused(tmp_path):
    written(tmp_path, small(OPTIMIZERS["SGD"](), units=(2, 3, 5)))
    checkpoint = Checkpoint(tmp_path, Pipeline((np.zeros((8, 4)), np.zeros((8, 3))), 2))
    with pytest.raises(
        UserError, match=r"whose model has 4 variables, .* one more, of shape \(3, 5\)"
    ):
        checkpoint.restore(small(OPTIMIZERS["SGD"]()))


def test_resuming_inside_an_epoch_of_other_data_is_refused(tmp_path):
    more = Pipeline((np.zeros((9, 4)), np.zeros((9, 3))), 2)
    written(tmp_path, small(OPTIMIZERS["SGD"]()), step=2)
    with pytest.raises(UserError, match="expected the data of .* 8 examples, received 9"):
        Checkpoint(tmp_path, more).restore(small(OPTIMIZERS["SGD"]()))
    written(tmp_path, small(OPTIMIZERS["SGD"]()))  # between epochs the data may change
    assert Checkpoint(tmp_path, more).restore(small(OPTIMIZERS["SGD"]())) == 0


def test_resuming_inside_an_epoch_of_other_contents_is_refused(tmp_path):
    """The data have as many examples in the same order."""
    x, y = np.zeros((8, 4)), np.zeros((8, 3))
    for others in ((x + 1, y), Items(x, y)):  # only the first examples are compared
        others, reports = Pipeline(others, 2), []
        written(tmp_path, small(OPTIMIZERS["SGD"]()), step=2)
        if others.contents()[0] == "all":
            with pytest.raises(UserError, match="expected the data of .* received other data"):
                Checkpoint(tmp_path, others).restore(small(OPTIMIZERS["SGD"]()))
        else:
            Checkpoint(tmp_path, others).restore(small(OPTIMIZERS["SGD"]()), reports.append)
            assert reports == []
        written(tmp_path, small(OPTIMIZERS["SGD"]()))
        Checkpoint(tmp_path, others).restore(small(OPTIMIZERS["SGD"]()), reports.append)
        assert len(reports) == (others.contents()[0] == "all")


ITEMS = Items(np.zeros((8, 4)), np.zeros((8, 3)))
BUFFER = "a buffer of 4 examples"


@pytest.mark.parametrize(
    "order, source, same",
    [
        ("a permutation", ITEMS, True),
        ("a permutation", ITEMS.parts, True),
        (None, ITEMS.parts, True),
        (BUFFER, ITEMS, False),
        (None, ITEMS, False),  # of an lbkeras that shuffled sets on the disk through a buffer
    ],
)
def test_resuming_inside_an_epoch_of_another_order_is_refused(order, source, same, tmp_path):
    reports = []
    for step in (2, 0):
        written(tmp_path, small(OPTIMIZERS["SGD"]()), step)
        with_state(tmp_path / "update_000000000.npz", lambda state: state.update(order=order))
        checkpoint = Checkpoint(tmp_path, Pipeline(source, 2))
        if step and not same:
            said = f"in the order of {order or 'a shuffle buffer'}, received a permutation; resume"
            with pytest.raises(UserError, match=said):
                checkpoint.restore(small(OPTIMIZERS["SGD"]()))
        else:
            checkpoint.restore(small(OPTIMIZERS["SGD"]()), reports.append)
    assert len(reports) == (not same)
