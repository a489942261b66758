"""The consensus distance against NumPy, of stacked nodes and of replicas."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from lbkeras import optimizers
from lbkeras.callbacks import ConsensusDistance, MeanOfNodes
from lbkeras.errors import UserError
from lbkeras.methods.decentralized import mixing
from lbkeras.trainers import StackedNodes


@pytest.fixture
def data():
    generator = np.random.default_rng(0)
    x = generator.standard_normal((32, 5)).astype("float32")
    return x, generator.standard_normal((32, 2)).astype("float32")


def network():
    keras.utils.set_random_seed(0)
    return keras.Sequential(
        [keras.Input((5,)), keras.layers.Dense(4, activation="tanh"), keras.layers.Dense(2)]
    )


def distance(nodes):
    """`nodes`: arrays with the nodes in the leading axis."""
    flat = np.concatenate([w.reshape(len(w), -1) for w in nodes], axis=1)
    return np.sqrt(np.mean(np.sum(np.square(flat - flat.mean(axis=0)), axis=1)))


def optimizer_of(nodes, matrix=None):
    return optimizers.DecentLaM(0.05, mixing.ring(nodes) if matrix is None else matrix)


def test_of_stacked_nodes(data):
    model = StackedNodes(network(), 4)
    model.compile(optimizer_of(4), "mse")
    callbacks = [ConsensusDistance(), MeanOfNodes()]
    history = model.fit(*data, batch_size=8, epochs=2, verbose=0, callbacks=callbacks)
    first, last = history.history["consensus_distance"]
    assert last == pytest.approx(distance([v.numpy() for v in model.node_weights]), rel=1e-5)
    assert first > 1e-3 and first != last


QUARTER = [[0.75, 0.25], [0.25, 0.75]]


@pytest.mark.slow
def test_of_replicas_whose_fit_equals_that_of_stacked_nodes(data, mirrored):
    """The same numbers in `fit` with validation, at the end of which all have the mean."""
    x, y = data
    stacked = StackedNodes(network(), 2)
    stacked.compile(optimizer_of(2, QUARTER), "mse")
    with mirrored.scope():
        model = network()
        model.compile(optimizer_of(2, QUARTER), "mse")
    histories = []
    for one in (stacked, model):
        batches = tf.data.Dataset.from_tensor_slices(data).batch(8)
        callbacks = [ConsensusDistance(), MeanOfNodes()]
        fit = one.fit(batches, epochs=3, validation_data=batches, verbose=0, callbacks=callbacks)
        histories.append(fit.history)
    for name in ("loss", "val_loss", "consensus_distance"):
        assert histories[1][name] == pytest.approx(histories[0][name], rel=1e-5), name
    assert histories[1]["consensus_distance"][-1] > 1e-3
    expected = [v.numpy() for v in stacked.mean_model().trainable_variables]
    for variable, mean in zip(model.trainable_variables, expected, strict=True):
        for part in mirrored.experimental_local_results(variable.value):
            np.testing.assert_allclose(part.numpy(), mean, rtol=1e-5, atol=1e-6)


def test_one_device_without_nodes_is_refused(data):
    model = network()
    model.compile("sgd", "mse")
    with pytest.raises(
        UserError, match="^model: expected lbkeras.trainers.StackedNodes or several"
    ):
        model.fit(*data, verbose=0, callbacks=[ConsensusDistance()])
