"""Stacked nodes equal single models trained one by one, with the exchange in NumPy."""

import functools

import keras
import numpy as np
import pytest

from lbkeras import optimizers
from lbkeras.callbacks import BatchSizeScheduler, Checkpoint
from lbkeras.data import Pipeline
from lbkeras.errors import UserError
from lbkeras.methods.decentralized import mixing
from lbkeras.trainers import StackedNodes

NODES = 4


def some_batches():
    generator = np.random.default_rng(0)
    x = generator.standard_normal((3, 16, 6, 6, 1)).astype("float32")
    return x, generator.integers(3, size=(3, 16))


@pytest.fixture
def batches():
    return some_batches()


def convolutional(normalization=False, dropout=0.0, seed=0):
    keras.utils.set_random_seed(seed)
    layers = [
        keras.Input((6, 6, 1)),
        keras.layers.Conv2D(
            3, 3, activation="relu", kernel_regularizer=keras.regularizers.L2(0.01)
        ),
    ]
    if normalization:
        layers.append(keras.layers.BatchNormalization(momentum=0.5))
    layers += [keras.layers.MaxPooling2D(2), keras.layers.Flatten()]
    if dropout:
        layers.append(keras.layers.Dropout(dropout, seed=3))
    return keras.Sequential([*layers, keras.layers.Dense(3)])


def compiled(model, optimizer, **arguments):
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(optimizer, loss, metrics=["accuracy"], **arguments)
    return model


@functools.cache
def expected_nodes(normalization):
    """Trains each node alone with Keras' SGD, one batch at a time, and averages on the ring.

    A single model takes the nodes' weights in turn, as SGD has no other state.

    Returns:
        The final weights of each node, the losses of the steps, and which weights are trained.
    """
    model = compiled(convolutional(normalization), keras.optimizers.SGD(0.1))
    trained = [any(w is v for v in model.trainable_weights) for w in model.weights]
    nodes = [model.get_weights() for _ in range(NODES)]
    x, y = some_batches()
    losses, part = [], x.shape[1] // NODES
    for batch, labels in zip(x, y, strict=True):
        of_step = []
        for i in range(NODES):
            rows = slice(i * part, (i + 1) * part)
            model.set_weights(nodes[i])
            model.reset_metrics()
            logs = model.train_on_batch(batch[rows], labels[rows], return_dict=True)
            of_step.append(logs["loss"])
            nodes[i] = model.get_weights()
        losses.append(np.mean(of_step))
        for k in np.flatnonzero(trained):
            mixed = np.tensordot(mixing.ring(NODES), np.stack([node[k] for node in nodes]), 1)
            for node, value in zip(nodes, mixed, strict=True):
                node[k] = value
    return nodes, losses, trained


def fitted(make, x, y, rate=0.1, **arguments):
    optimizer = optimizers.DecentLaM(rate, mixing.ring(NODES), momentum=0.0)
    model = compiled(StackedNodes(make(), NODES), optimizer, **arguments)
    examples = x.reshape(-1, *x.shape[2:]), y.reshape(-1)
    history = model.fit(*examples, batch_size=x.shape[1], shuffle=False, verbose=0)
    return model, history


@pytest.mark.parametrize(
    "normalization, jit_compile",
    [
        (True, False),
        pytest.param(False, False, marks=pytest.mark.release),
        pytest.param(False, True, marks=pytest.mark.release),
        pytest.param(True, True, marks=pytest.mark.release),
    ],
)
def test_every_node_trains_on_its_own_rows_only(normalization, jit_compile, batches):
    def make():
        return convolutional(normalization)

    model, history = fitted(make, *batches, jit_compile=jit_compile)
    nodes, losses, trained = expected_nodes(normalization)
    for ours, k in zip(model.node_weights, np.flatnonzero(trained), strict=True):
        theirs = np.stack([node[k] for node in nodes])
        np.testing.assert_allclose(ours.numpy(), theirs, rtol=1e-5, atol=1e-6)
        assert np.ptp(theirs, axis=0).max() > 1e-4
    assert history.history["loss"][0] == pytest.approx(np.mean(losses), rel=1e-5)
    assert model.optimizer.iterations.numpy() == 3
    mean = model.mean_model()
    for i, ours in enumerate(mean.get_weights()):
        theirs = np.mean([node[i] for node in nodes], axis=0)
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-6)


@pytest.mark.release  # the gate: base_test.py steps single nodes
def test_eager_steps_of_single_nodes_give_the_same_weights(batches):
    def make():
        return convolutional(normalization=False)

    together, _ = fitted(make, *batches)
    eager, _ = fitted(make, *batches, run_eagerly=True)
    for ours, theirs in zip(eager.node_weights, together.node_weights, strict=True):
        np.testing.assert_allclose(ours.numpy(), theirs.numpy(), rtol=1e-5, atol=1e-6)


@pytest.mark.slow
def test_it_evaluates_and_predicts_with_the_mean(batches):
    x, y = batches
    model, _ = fitted(lambda: convolutional(normalization=True), x, y)
    alone = compiled(model.mean_model(), "sgd")
    ours = model.evaluate(x[0], y[0], batch_size=5, verbose=0, return_dict=True)
    theirs = alone.evaluate(x[0], y[0], batch_size=5, verbose=0, return_dict=True)
    penalty = float(sum(alone.losses))  # the nodes' mean is penalized in training only
    assert ours["loss"] == pytest.approx(theirs["loss"] - penalty, rel=1e-5)
    assert ours["accuracy"] == theirs["accuracy"]
    np.testing.assert_allclose(
        model.predict(x[0], verbose=0), alone.predict(x[0], verbose=0), rtol=1e-5, atol=1e-6
    )


def test_dropout_differs_between_nodes_and_steps():
    x = np.ones((16, 6, 6, 1), "float32")
    y = np.zeros(16, int)
    model, _ = fitted(lambda: convolutional(dropout=0.5), x[None], y[None])
    kernels = model.node_weights[-2].numpy()
    assert all(np.any(kernels[0] != kernels[i]) for i in range(1, NODES))
    seeds = [v.numpy() for v in model.non_trainable_variables]
    assert len(seeds) == 1 and seeds[0][:, 1].tolist() == [1] * NODES
    assert len(set(seeds[0][:, 0].tolist())) == NODES


@pytest.mark.release
def test_a_saved_model_continues_as_if_it_had_not_stopped(batches, tmp_path):
    x, y = batches
    model, _ = fitted(lambda: convolutional(normalization=True, dropout=0.5), x, y)
    model.save(tmp_path / "model.keras")
    restored = keras.models.load_model(tmp_path / "model.keras")
    assert isinstance(restored, StackedNodes) and restored.num_nodes == NODES
    np.testing.assert_array_equal(model.predict(x[0], verbose=0), restored.predict(x[0], verbose=0))
    for one in (model, restored):
        one.fit(x[1], y[1], batch_size=8, shuffle=False, verbose=0)
    for ours, theirs in zip(model.weights, restored.weights, strict=True):
        np.testing.assert_allclose(ours.numpy(), theirs.numpy(), rtol=1e-6, atol=1e-7)


@pytest.mark.release  # the gate: node_shards_test.py and checkpoint_test.py
def test_a_growing_batch_and_a_checkpoint(digits, tmp_path):
    images, labels = (part[:192] for part in digits)
    images = images[:, 1:7, 1:7].astype("float32") / 16
    labels = labels % 3

    def fit(epochs, callbacks=(), first=0, model=None, train=None):
        scheduler = BatchSizeScheduler(train, lambda epoch, size: (32, 64)[epoch])
        model.fit(train, epochs=epochs, initial_epoch=first, verbose=0,
                  callbacks=[scheduler, *callbacks])  # fmt: skip

    def make():
        optimizer = optimizers.DecentLaM(0.05, mixing.ring(NODES))
        model = compiled(StackedNodes(convolutional(dropout=0.25), NODES), optimizer)
        return model, Pipeline((images, labels), 32)

    model, train = make()
    fit(2, model=model, train=train)
    assert model.optimizer.iterations.numpy() == 6 + 3
    first, train = make()
    fit(1, [Checkpoint(tmp_path, train)], model=first, train=train)
    second, train = make()
    checkpoint = Checkpoint(tmp_path, train)
    fit(2, [checkpoint], checkpoint.restore(second), model=second, train=train)
    for ours, theirs in zip(second.weights, model.weights, strict=True):
        np.testing.assert_allclose(ours.numpy(), theirs.numpy(), rtol=1e-6, atol=1e-7)


def test_messages(batches, mirrored):
    x, y = batches
    model = StackedNodes(convolutional(), NODES)
    compiled(model, keras.optimizers.SGD())
    with pytest.raises(UserError, match="^optimizer: expected a decentralized one with 4 .* SG"):
        model.train_on_batch(x[0], y[0])
    compiled(model, optimizers.DmSGD(0.1, mixing.ring(8)))
    with pytest.raises(UserError, match="^(optimizer|variables): expected .*8"):
        model.train_on_batch(x[0], y[0])
    compiled(model, optimizers.DmSGD(0.1, mixing.ring(4)))
    expected = (
        "^batch_size: expected a multiple of the 4 nodes, received 6; the nearest are 4 and 8"
    )
    with pytest.raises(UserError, match=expected):
        model.train_on_batch(x[0][:6], y[0][:6])
    with pytest.raises(
        UserError, match="^num_nodes: expected a whole number of at least 1, rec.*0"
    ):
        StackedNodes(convolutional(), 0)
    with pytest.raises(UserError, match="^model: expected a built Keras model, received 3"):
        StackedNodes(3, 2)
    with mirrored.scope():
        with pytest.raises(UserError, match="^num_nodes: expected one replica, received 2"):
            StackedNodes(convolutional(), 2)
