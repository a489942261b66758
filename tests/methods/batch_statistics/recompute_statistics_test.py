import contextlib

import keras
import numpy as np
import pytest

from lbkeras import data as lbdata
from lbkeras.errors import UserError
from lbkeras.layers import GhostBatchNormalization, recompute_statistics


def data(*shape, seed=0):
    return np.random.default_rng(seed).normal(1.0, 2.0, shape).astype("float32")


def moving(layer):
    return layer.moving_mean.numpy(), layer.moving_variance.numpy()


def check(layer, parts):
    """Checks a layer's statistics: the parts' means and variances, weighted by their sizes."""
    parts = [part.astype("float64") for part in parts]
    sizes = [len(part) for part in parts]
    mean = np.average([part.mean(0) for part in parts], axis=0, weights=sizes)
    variance = np.average([part.var(0) for part in parts], axis=0, weights=sizes)
    np.testing.assert_allclose(moving(layer), [mean, variance], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    "norm, ghosts",
    [
        (lambda: keras.layers.BatchNormalization(momentum=0.9), 1),
        (lambda: GhostBatchNormalization(4, momentum=0.9), 2),
    ],
)
def test_averages_over_a_pass(norm, ghosts):
    x = data(20, 3)
    model = keras.Sequential([keras.Input((3,)), norm()])
    model(data(8, 3, seed=1), training=True)  # statistics that must disappear
    assert recompute_statistics(model, [x[:8], x[8:16], x[16:]]) == 20
    parts = [*np.split(x[:16], 2 * ghosts), x[16:]]  # the last batch is one ghost of 4
    check(model.layers[0], parts)
    assert model.layers[0].momentum == 0.9
    assert getattr(model.layers[0], "moving_statistics", "sequential") == "sequential"


def test_deeper_layers_get_the_inputs_of_training():
    x = data(8, 3)
    model = keras.Sequential(
        [keras.Input((3,)), keras.layers.BatchNormalization(epsilon=1e-3), keras.layers.ReLU()]
    )
    model.add(keras.layers.BatchNormalization())
    recompute_statistics(model, [x])
    normalized = (x - x.mean(0)) / np.sqrt(x.var(0) + 1e-3)
    check(model.layers[2], [np.maximum(normalized, 0)])


def test_a_pipeline_and_steps(digits):
    images, labels = digits
    norm = keras.layers.BatchNormalization()
    layers = [keras.Input((8, 8, 1)), keras.layers.Flatten(), keras.layers.Rescaling(1.0), norm]
    model = keras.Sequential(layers)
    pipeline = lbdata.Pipeline((images[:40], labels[:40]), 16, shuffle=False)
    flat = images.reshape(-1, 64).astype("float32")
    assert recompute_statistics(model, pipeline) == 40
    check(norm, [flat[:16], flat[16:32], flat[32:40]])
    assert recompute_statistics(model, pipeline.dataset(), steps=2) == 32
    check(norm, [flat[:16], flat[16:32]])


def test_subclassed_model_with_nested_layers_and_other_states():
    class Block(keras.layers.Layer):
        def __init__(self):
            super().__init__()
            self.norm = keras.layers.BatchNormalization()
            self.frozen = keras.layers.BatchNormalization(trainable=False)
            self.dropout = keras.layers.Dropout(0.5, seed=0)
            self.calls = self.add_weight(shape=(), initializer="zeros", trainable=False)

        def call(self, x, training=None):
            if training:
                self.calls.assign_add(1.0)
            return self.dropout(self.frozen(self.norm(x, training=training)), training=training)

    class Model(keras.Model):
        def __init__(self):
            super().__init__()
            self.block = Block()

        def call(self, inputs, training=None):
            return self.block(inputs["x"], training=training)

    x, model = data(8, 3), Model()
    model({"x": x})
    recomputed = [model.block.norm.moving_mean, model.block.norm.moving_variance]
    others = [v for v in model.variables if not any(v is r for r in recomputed)]
    before = [v.numpy() for v in others]
    recompute_statistics(model, [({"x": x}, np.zeros(8))])
    check(model.block.norm, [x])
    assert len(before) == 8  # calls, gamma, beta of both, the frozen statistics, the seed
    for variable, value in zip(others, before, strict=True):
        np.testing.assert_array_equal(variable.numpy(), value)


@pytest.mark.parametrize("in_scope", [False, True])
def test_a_mirrored_model(mirrored, in_scope):
    x = data(8, 3)
    with mirrored.scope():
        model = keras.Sequential([keras.Input((3,)), keras.layers.BatchNormalization()])
    with mirrored.scope() if in_scope else contextlib.nullcontext():
        recompute_statistics(model, [x])
    check(model.layers[0], [x])
    for replica in mirrored.experimental_local_results(model.layers[0].moving_mean.value):
        np.testing.assert_allclose(replica, x.mean(0), rtol=1e-5, atol=1e-6)


def test_an_error_restores_everything():
    model = keras.Sequential([keras.Input((3,)), keras.layers.BatchNormalization(momentum=0.9)])
    before = model.get_weights()

    def batches():
        yield data(4, 3)
        raise OSError("disk")

    with pytest.raises(OSError):
        recompute_statistics(model, batches())
    for now, then in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(now, then)
    assert model.layers[0].momentum == 0.9


@pytest.mark.parametrize("norm", [[], [keras.layers.BatchNormalization]])
def test_errors(norm):
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2), *(n() for n in norm)])
    model.name = "net"
    message = "batches: .* received none" if norm else "model: expected .* received 'net' without"
    with pytest.raises(UserError, match=message):
        recompute_statistics(model, [])


def test_before_each_evaluation_of_fit():
    """As in the docstring: the model is evaluated with the statistics of its current weights."""
    norm = keras.layers.BatchNormalization()
    model = keras.Sequential(
        [keras.Input((3,)), keras.layers.Dense(2), norm, keras.layers.Dense(1)]
    )
    model.compile(keras.optimizers.SGD(0.1), "mse")
    x, y = data(16, 3), data(16, 1, seed=1)
    seen = []

    def recompute(logs):
        recompute_statistics(model, [x])
        inside = x.astype("float64") @ model.layers[0].kernel.numpy() + model.layers[0].bias.numpy()
        check(norm, [inside])
        seen.append(moving(norm)[0])

    model.fit(
        x,
        y,
        epochs=2,
        verbose=0,
        validation_data=(x, y),
        callbacks=[keras.callbacks.LambdaCallback(on_test_begin=recompute)],
    )
    assert len(seen) == 2 and not np.allclose(*seen)
    np.testing.assert_array_equal(moving(norm)[0], seen[1])
