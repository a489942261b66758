import importlib.util
import os
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf

from lbkeras.layers import ShakeDrop


def factors(layer, shape, dtype="float32"):
    """Returns the layer's forward and backward factors for ones, as float64 NumPy arrays."""
    x = tf.ones(shape, dtype)
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = layer(x, training=True)
    assert y.dtype == x.dtype
    return [t.numpy().astype(np.float64) for t in (y, tape.gradient(y, x))]


@pytest.mark.parametrize(
    "level, varies",
    [
        ("batch", (False, False, False)),
        ("image", (True, False, False)),
        ("channel", (True, False, True)),
        ("pixel", (True, True, True)),
    ],
)
def test_which_elements_share_a_factor(level, varies):
    forward, backward = factors(ShakeDrop(0.0, level=level, seed=0), (4, 3, 3, 5))
    for values in (forward, backward):
        for axis, differs in ((0, varies[0]), (1, varies[1]), (2, varies[1]), (3, varies[2])):
            assert (np.ptp(values, axis=axis) > 0).all() == differs


def test_forward_and_backward_follow_the_paper():
    """b + α - b α and b + β - b β with one b: both 1, or α and β, uniform and independent."""
    forward, backward = factors(ShakeDrop(0.7, seed=1), (20_000, 1))
    survives = forward == 1
    np.testing.assert_array_equal(survives, backward == 1)
    assert abs(survives.mean() - 0.7) < 0.013  # 4 standard errors, n = 20,000
    alpha, beta = forward[~survives], backward[~survives]
    assert -1 <= alpha.min() < -0.99 and 0.99 < alpha.max() < 1
    assert 0 <= beta.min() < 0.01 and 0.99 < beta.max() < 1
    # With n = 6,000 the standard errors of the means are 0.0075 and 0.0037, of the correlation
    # 0.013.
    assert abs(alpha.mean()) < 0.03 and abs(beta.mean() - 0.5) < 0.015
    assert abs(np.corrcoef(alpha, beta)[0, 1]) < 0.052


@pytest.mark.parametrize(
    "probability, alpha, expected",
    [(0.5, (-1, 1), 0.5), (0.8, (-1, 1), 0.8), (0.5, (0, 1), 0.75), (0.25, (0, 0), 0.25)],
)
def test_inference_multiplies_by_the_expectation(probability, alpha, expected):
    layer = ShakeDrop(probability, alpha=alpha)
    np.testing.assert_allclose(layer(np.full((2, 3), 4, np.float32)), np.full((2, 3), 4 * expected))
    forward, _ = factors(ShakeDrop(probability, alpha=alpha, seed=0), (20_000, 1))
    assert abs(forward.mean() - expected) < 4 * forward.std() / np.sqrt(20_000)


def test_stochastic_depth():
    forward, backward = factors(ShakeDrop(0.5, (0, 0), (0, 0), seed=0), (100, 2))
    np.testing.assert_array_equal(forward, backward)
    assert set(forward.flat) == {0.0, 1.0}


def test_probability_1_changes_nothing():
    forward, backward = factors(ShakeDrop(1.0), (100, 2))
    assert (forward == 1).all() and (backward == 1).all()


def test_replicas_draw_different_numbers(mirrored):
    with mirrored.scope():
        layer = ShakeDrop(0.0, seed=0)

    @tf.function
    def call():
        return mirrored.run(lambda: layer(tf.ones((9, 1)), training=True))

    draws = [x.numpy() for _ in range(2) for x in mirrored.experimental_local_results(call())]
    assert len(np.unique(draws)) == 2 * 2 * 9


def test_trains_under_a_strategy(mirrored):
    with mirrored.scope():
        model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(2), ShakeDrop(seed=0)])
        model.compile("sgd", "mse")
    before = model.get_weights()[0].copy()
    model.fit(np.ones((8, 2), np.float32), np.zeros((8, 2), np.float32), verbose=0)
    assert (model.get_weights()[0] != before).any()


@pytest.mark.release
@pytest.mark.skipif(importlib.util.find_spec("jax") is None, reason="needs JAX")
def test_jax_backend():
    code = """
import jax, keras, numpy as np
from lbkeras.layers import HadamardClassifier, ShakeDrop
layer = ShakeDrop(0.5, alpha=(-1.0, -0.5), beta=(0.25, 0.5), seed=0)
state = layer.seed_generator.state
def call(x, seed):
    with keras.StatelessScope(state_mapping=[(state, seed)]):
        return layer(x, training=True)
y, backward = jax.vjp(jax.jit(lambda x: call(x, state.value)), np.ones((50, 2), np.float32))
gradient = backward(np.ones_like(y))[0]
survives = np.asarray(y) == 1
assert 10 < survives[:, 0].sum() < 40 and (gradient[survives] == 1).all()
assert (y[~survives] < -0.49).all()
assert (gradient[~survives] > 0.24).all() and (gradient[~survives] < 0.51).all()
classifier = HadamardClassifier(3, scale_initializer="ones", bias_initializer="zeros")
expected = [[1, 1, 1], [-1, 1, -1], [1, -1, -1], [-1, -1, 1]]
np.testing.assert_array_equal(classifier(np.eye(4)), expected)
"""
    environment = os.environ | {"KERAS_BACKEND": "jax", "JAX_PLATFORMS": "cpu"}
    subprocess.run([sys.executable, "-c", code], env=environment, check=True, timeout=120)


@pytest.mark.parametrize(
    "arguments, message",
    [
        (dict(survival_probability=1.5), "survival_probability: expected 0 to 1, received 1.5"),
        (dict(level="layer"), "level: expected one of batch, image, channel, pixel, received"),
        (dict(alpha=(1, -1)), r"alpha: expected \(lowest, highest\), received \(1, -1\)"),
        (dict(beta=1), r"beta: expected \(lowest, highest\), received 1"),
    ],
)
def test_wrong_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        ShakeDrop(**arguments)
