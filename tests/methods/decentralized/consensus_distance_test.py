"""The consensus distance agrees with NumPy."""

import keras
import numpy as np
import pytest

from lbkeras import optimizers
from lbkeras.callbacks import ConsensusDistance
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
    """Returns the consensus distance; `nodes` are arrays with the nodes in the leading axis."""
    flat = np.concatenate([w.reshape(len(w), -1) for w in nodes], axis=1)
    return np.sqrt(np.mean(np.sum(np.square(flat - flat.mean(axis=0)), axis=1)))


def test_distance_of_stacked_nodes(data):
    model = StackedNodes(network(), 4)
    model.compile(optimizers.DecentLaM(0.05, mixing.ring(4)), "mse")
    history = model.fit(*data, batch_size=8, epochs=2, verbose=0, callbacks=[ConsensusDistance()])
    first, last = history.history["consensus_distance"]
    assert last == pytest.approx(distance([v.numpy() for v in model.node_weights]), rel=1e-5)
    assert first > 1e-3 and first != last


def test_a_model_without_nodes_is_refused(data):
    model = network()
    model.compile("sgd", "mse")
    message = "^model: expected lbkeras.trainers.StackedNodes, received Sequential$"
    with pytest.raises(UserError, match=message):
        model.fit(*data, verbose=0, callbacks=[ConsensusDistance()])
