"""Clipping, averages of the weights and loss scaling work on replicas as on one device."""

import keras
import numpy as np
import pytest

from tests.keras_internals.one_layer import fitted, make


@pytest.mark.parametrize(
    "clipping",
    [
        pytest.param({"clipnorm": 0.05}, marks=pytest.mark.release),
        {"global_clipnorm": 0.05},
        pytest.param({"clipvalue": 0.02}, marks=pytest.mark.release),
    ],
    ids=str,
)
def test_the_gradient_of_all_replicas_is_clipped(mirrored, clipping):
    def optimizer():
        return keras.optimizers.SGD(0.1, momentum=0.9, weight_decay=0.01, **clipping)

    expected = fitted(make(optimizer()))[0]
    with mirrored.scope():
        model = make(optimizer())
    np.testing.assert_allclose(fitted(model)[0], expected, rtol=1e-6)
    unclipped = fitted(make(keras.optimizers.SGD(0.1, momentum=0.9, weight_decay=0.01)))[0]
    assert np.abs(unclipped - expected).max() > 0.01  # it mattered


@pytest.mark.slow
def test_averages_that_replace_the_weights(mirrored):
    def optimizer(**arguments):
        return keras.optimizers.SGD(0.1, use_ema=True, ema_momentum=0.5, **arguments)

    every = dict(ema_overwrite_frequency=2)
    expected = fitted(make(optimizer(**every)))[0]
    with mirrored.scope():
        model = make(optimizer(**every))
    np.testing.assert_allclose(fitted(model)[0], expected, rtol=1e-6)
    assert np.abs(fitted(make(optimizer()))[0] - expected).max() > 1e-3  # it mattered


@pytest.mark.slow
@pytest.mark.parametrize("replica", [pytest.param(0, marks=pytest.mark.release), 1])
def test_an_overflow_in_any_replica_skips_the_update(mirrored, replica):
    """The scaled loss of one example in the first batch exceeds the range of float16."""
    x, y = np.ones((8, 4), "float32"), np.full((8, 1), 0.1, "float32")
    y[2 * replica] = 30_000.0
    with mirrored.scope():
        layer = keras.layers.Dense(1, kernel_initializer="zeros", dtype="mixed_float16")
        model = keras.Sequential([keras.Input((4,)), layer])
        optimizer = keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD(0.1))
        model.compile(optimizer, "mse")
    model.fit(x, y, batch_size=4, shuffle=False, verbose=0)
    assert int(optimizer.iterations.numpy()) == 1
    assert float(optimizer.dynamic_scale.numpy()) == 2.0**14
    np.testing.assert_allclose(model.get_weights()[0], 0.02, rtol=1e-3)
