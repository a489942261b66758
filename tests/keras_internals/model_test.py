"""Compares each function with the public behavior of the installed Keras."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from lbkeras.keras_internals import model as internals


def arrays(examples=8):
    generator = np.random.default_rng(0)
    return generator.normal(size=(examples, 3)).astype("f"), np.ones((examples, 2), "f")


def dense(**arguments):
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2, **arguments)])
    model.compile(keras.optimizers.SGD(0.1), "mse", metrics=["mae"])
    return model


class WithTraining(keras.Model):
    def call(self, x, training=False):
        return x + 1.0 if training else x


class WithoutTraining(keras.Model):
    def call(self, x):
        return 2.0 * x


class OldLoss(keras.Model):
    """A model for Keras before 3.3, when `compute_loss` had no `training`."""

    def call(self, x):
        return x

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None):
        return 7.0 * super().compute_loss(x, y, y_pred, sample_weight)


def test_layers_at_any_depth_are_found_once():
    shared = keras.layers.Dense(3, name="shared")
    first = keras.Input((3,), name="first")
    block = keras.Sequential([first, shared, keras.layers.ReLU(name="inner")], name="block")
    inputs = keras.Input((3,), name="inputs")
    wrapped = keras.layers.TimeDistributed(keras.layers.Dense(1, name="wrapped"), name="times")
    x = shared(block(inputs))
    model = keras.Model(inputs, wrapped(keras.layers.Reshape((3, 1), name="reshape")(x)))
    names = [layer.name for layer in internals.layers(model)]
    expected = ["block", "first", "inner", "inputs", "reshape", "shared", "times", "wrapped"]
    assert names[0] == model.name and sorted(names[1:]) == expected
    assert [layer.name for layer in internals.layers(model, include_self=False)] == names[1:]


def test_a_model_is_built_once_fit_has_begun():
    model = dense()
    assert model.built and not internals.is_built(model)  # metrics, loss, optimizer are not
    model.fit(*arrays(), verbose=0)
    assert internals.is_built(model)


def test_build_builds_what_fit_would():
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.layers.Dense(2)])
    model.compile(keras.optimizers.SGD(0.1, momentum=0.9), "mse", metrics=["mae"])
    internals.build(model, arrays())
    assert internals.is_built(model)
    assert [tuple(v.shape) for v in model.trainable_variables] == [(3, 2), (2,)]
    assert int(model.optimizer.iterations) == 0 and len(model.optimizer.variables) == 4


def test_the_output_in_training_mode():
    x = tf.ones((1, 2))
    np.testing.assert_array_equal(internals.call_for_training(WithTraining(), x), x + 1)
    np.testing.assert_array_equal(internals.call_for_training(WithoutTraining(), x), 2 * x)


@pytest.mark.parametrize("kind, factor", [(WithTraining, 1.0), (OldLoss, 7.0)])
def test_the_loss_of_a_model_whose_compute_loss_may_be_old(kind, factor):
    model = kind()
    model.compile(loss="mse")
    x, y = tf.constant([[3.0], [5.0]]), tf.zeros((2, 1))
    loss = internals.compute_loss(model, x, y, x, np.array([1.0, 3.0], "f"))
    assert float(loss) == pytest.approx(factor * (9.0 + 3 * 25.0) / 2)


def test_additional_losses_are_divided_by_the_replicas(mirrored):
    model = dense()
    assert float(internals.additional_loss(model, tf.constant(6.0))) == 6.0
    parts = mirrored.run(lambda: internals.additional_loss(model, tf.constant(6.0)))
    assert [float(part) for part in mirrored.experimental_local_results(parts)] == [3.0, 3.0]


def test_the_loss_metric_holds_the_epochs_mean():
    model = dense()
    history = model.fit(*arrays(), batch_size=4, verbose=0).history
    metric = internals.loss_metric(model)
    assert metric.name == "loss" and metric in model.metrics
    assert float(metric.result()) == pytest.approx(history["loss"][0])


def test_a_train_function_of_another_step():
    model = dense()
    step, seen = model.train_step, []

    def train_step(data):
        seen.append(tuple(data[0].shape))
        return step(data)

    model.train_function = internals.train_function(model, train_step)
    expected = dense()
    assert (
        model.fit(*arrays(), batch_size=4, verbose=0, shuffle=False).history
        == expected.fit(*arrays(), batch_size=4, verbose=0, shuffle=False).history
    )
    assert set(seen) == {(4, 3)}


def test_activity_losses_are_scaled_and_regularizers_restored():
    layer = keras.layers.ActivityRegularization(l1=1.0)
    model = keras.Sequential([keras.Input((1,)), keras.Sequential([layer])])
    regularizer, x = layer.activity_regularizer, np.ones((2, 1), "f")
    once = 2.0 if internals.activity_losses_are_sums() else 1.0
    for factor in (1.0, 2.5):
        with internals.activity_losses_scaled(model, factor):
            model(x)
        assert float(model.losses[0]) == factor * once
        assert layer.activity_regularizer is regularizer


def test_a_uint8_model_accepts_floats_in_the_context():
    """Also if two contexts overlap, as those of two replicas do, and end in either order."""
    images = keras.Input((2,), dtype="uint8")
    inner = keras.Sequential([keras.Input((2,), dtype="uint8"), keras.layers.Rescaling(0.5)])
    model = keras.Model(images, inner(images))
    x = tf.constant([[1.25, 3.5]])
    before = model(x).numpy()
    first, second = internals.float_inputs(model), internals.float_inputs(model)
    with first:
        np.testing.assert_array_equal(model(x), x / 2)
        second.__enter__()
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = model(x)
    np.testing.assert_array_equal(tape.gradient(y, x), [[0.5, 0.5]])
    second.__exit__(None, None, None)
    np.testing.assert_array_equal(model(x), before)
    np.testing.assert_array_equal(before, [[0.5, 1.5]])
    assert images.dtype == inner.inputs[0].dtype == "uint8"
