"""Each public module, optimizer, layer and schedule, on either backend."""

import importlib
import os
import pkgutil

import keras
import numpy as np
import pytest

import lbkeras
from lbkeras import layers, optimizers
from tests.optimizers import problem, restatements
from tests.optimizers.battery_settings import SETTINGS


def modules():
    found = pkgutil.walk_packages(lbkeras.__path__, "lbkeras.")
    return sorted(each.name for each in found if not each.name.endswith("__main__"))


def test_this_is_the_keras_to_check():
    assert keras.__version__ == os.environ.get("LBKERAS_CHECKED_KERAS", keras.__version__)
    assert keras.backend.backend() == os.environ.get("KERAS_BACKEND", keras.backend.backend())


def test_every_module_imports():
    names = modules()
    assert len(names) > 60
    for name in names:
        module = importlib.import_module(name)
        for public in getattr(module, "__all__", ()):
            assert getattr(module, public) is not None, (name, public)


def one_node(w, g, state, rate, *, momentum=0.9, weight_decay=0.0, elasticity=0.0, **of_several):
    """A decentralized optimizer's only node: SGD with momentum; the pull to the elastic centre."""
    m = state["m"] = momentum * state.get("m", np.zeros_like(w)) + rate * (g + weight_decay * w)
    centre = state.get("centre", w)
    pull = elasticity * (w - m - centre)
    state["centre"] = centre + pull
    return w - m - pull


RULES = {
    "LARS": restatements.lars,
    "LAMB": restatements.lamb,
    "AdamP": restatements.adamp,
    "SGDP": restatements.sgdp,
    "RMSpropWarmup": restatements.rmsprop_warmup,
}


@pytest.mark.parametrize("name", SETTINGS)
def test_optimizer(name):
    """Twenty steps of a growing learning rate on given gradients."""
    names, weights, gradients, rates = problem.make_problem()
    settings = SETTINGS[name]
    optimizer = getattr(optimizers, name)(**settings)
    ours = problem.run(optimizer, names, weights, gradients, rates)
    assert int(optimizer.iterations) == problem.STEPS
    rest = {key: value for key, value in settings.items() if key != "learning_rate"}
    rule = RULES.get(name, one_node)
    expected = restatements.trajectory(rule, weights, gradients, rates, **rest)
    for a, w, e in zip(ours, weights, expected, strict=True):
        assert np.abs(a - w).max() > 1e-3
        np.testing.assert_allclose(a, e, rtol=2e-4, atol=2e-5)


def test_every_optimizer_is_checked():
    assert set(SETTINGS) == set(optimizers.__all__)


@pytest.mark.parametrize("name", SETTINGS)
def test_optimizer_in_fit(name, digits):
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [keras.Input((8, 8, 1)), keras.layers.Rescaling(1 / 16), keras.layers.Flatten(),
         keras.layers.Dense(10)]
    )  # fmt: skip
    settings = SETTINGS[name] | dict(learning_rate=0.01)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(getattr(optimizers, name)(**settings), loss)
    losses = model.fit(*digits, epochs=4, batch_size=100, verbose=0).history["loss"]
    assert int(model.optimizer.iterations) == 60
    assert losses[-1] < losses[0]


@pytest.mark.parametrize("moving_statistics", ["sequential", "mean"])
def test_ghost_batch_normalization(moving_statistics):
    x = np.random.default_rng(0).normal(2, 3, size=(12, 5)).astype("float32")
    layer = layers.GhostBatchNormalization(
        4, moving_statistics=moving_statistics, momentum=0.75, epsilon=1e-3
    )
    ours = keras.ops.convert_to_numpy(layer(x, training=True))
    ghosts = x.astype("float64").reshape(3, 4, 5)
    mean, variance = ghosts.mean(1), ghosts.var(1)
    expected = (ghosts - mean[:, None]) / np.sqrt(variance[:, None] + 1e-3)
    np.testing.assert_allclose(ours, expected.reshape(12, 5), atol=1e-5)
    moving = np.zeros(5)
    if moving_statistics == "mean":
        moving = 0.25 * mean.mean(0)
    else:
        for each in mean:
            moving = 0.75 * moving + 0.25 * each
    np.testing.assert_allclose(layer.moving_mean, moving, rtol=1e-5)


def test_ghosts_in_a_model():
    inputs = keras.Input((4,))
    hidden = keras.layers.BatchNormalization(name="norm")(keras.layers.Dense(6, name="a")(inputs))
    model = keras.Model(inputs, keras.layers.Dense(2, name="b")(hidden))
    ghosted = layers.with_ghost_batch_normalization(model, ghost_batch_size=3)
    assert isinstance(ghosted.get_layer("norm"), layers.GhostBatchNormalization)
    x = np.random.default_rng(0).normal(size=(9, 4)).astype("float32")
    kernel, bias = model.get_layer("a").get_weights()
    hidden = (x @ kernel + bias).reshape(3, 3, 6)
    hidden = (hidden - hidden.mean(1, keepdims=True)) / np.sqrt(hidden.var(1, keepdims=True) + 1e-3)
    expected = hidden.reshape(9, 6) @ model.get_layer("b").get_weights()[0]
    ours = keras.ops.convert_to_numpy(ghosted(x, training=True))
    np.testing.assert_allclose(ours, expected, atol=1e-4)


def test_hadamard_classifier():
    import scipy.linalg

    layer = layers.HadamardClassifier(7, bias_initializer="zeros")
    x = np.random.default_rng(0).normal(size=(3, 8)).astype("float32")
    matrix = scipy.linalg.hadamard(8)[:, 1:]
    expected = x / np.linalg.norm(x, axis=1, keepdims=True) @ matrix / np.sqrt(7)
    np.testing.assert_allclose(layer(x), expected, atol=1e-5)


def test_shake_drop():
    x = np.ones((1000, 1), "float32")
    layer = layers.ShakeDrop(0.6, alpha=(-1, 1), beta=(0, 0), seed=1)
    out = keras.ops.convert_to_numpy(layer(x, training=True)).ravel()
    assert abs(np.mean(out == 1) - 0.6) < 0.05 and np.all(np.abs(out) <= 1)
    np.testing.assert_allclose(layer(x), 0.6 * x, rtol=1e-6)
