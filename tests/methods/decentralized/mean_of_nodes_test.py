"""Replicas as nodes: evaluated at their mean, and back at their own weights after it."""

import keras
import numpy as np
import pytest

from lbkeras.callbacks import MeanOfNodes
from lbkeras.optimizers import DmSGD


@pytest.fixture
def data():
    generator = np.random.default_rng(0)
    x = generator.standard_normal((32, 5)).astype("float32")
    return x, generator.standard_normal((32, 2)).astype("float32")


def compiled():
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((5,)), keras.layers.Dense(2)])
    model.compile(DmSGD(0.05, [[0.75, 0.25], [0.25, 0.75]]), "mse")
    return model


def nodes_of(model, strategy):
    """Each trainable variable with the replicas in the leading axis."""
    parts = [strategy.experimental_local_results(v.value) for v in model.trainable_variables]
    return [np.stack([part.numpy() for part in each]) for each in parts]


@pytest.mark.parametrize(
    "keep",
    [pytest.param(True, marks=pytest.mark.slow), pytest.param(False, marks=pytest.mark.release)],
)
def test_evaluation_takes_the_mean_and_training_goes_on_from_each_nodes_weights(
    keep, data, mirrored
):
    """Validation after each of two epochs changes nothing in the training."""
    x, y = data
    ends = []
    for validation in (None, data):
        with mirrored.scope():
            model = compiled()
        callback = MeanOfNodes(keep)
        fit = model.fit(
            *data, batch_size=8, epochs=2, shuffle=False, verbose=0, validation_data=validation,
            callbacks=[callback],
        )  # fmt: skip
        ends.append(nodes_of(model, mirrored))
    for ours, theirs in zip(*ends, strict=True):
        np.testing.assert_array_equal(ours, theirs)
    kernel, bias = (node.mean(axis=0) for node in ends[1])
    expected = np.mean(np.square(x @ kernel + bias - y))
    assert fit.history["val_loss"][-1] == pytest.approx(expected, rel=1e-5)
    assert (np.ptp(ends[1][0], axis=0).max() > 1e-3) == (not keep)


def test_without_replicas_it_does_nothing(data):
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((5,)), keras.layers.Dense(2)])
    model.compile("sgd", "mse")
    before = model.get_weights()
    model.evaluate(*data, verbose=0, callbacks=[MeanOfNodes()])
    for ours, theirs in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(ours, theirs)
