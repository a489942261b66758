"""FlatLoss against Keras' own evaluation and gradients."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from lbkeras.data import Pipeline
from lbkeras.errors import UserError
from lbkeras.trainers import FlatLoss, StackedNodes


@pytest.fixture
def train(digits):
    return Pipeline(
        tuple(part[:100] for part in digits), batch_size=20, augment=lambda x, seed: x * 0
    )


def vector(model):
    return np.concatenate([np.ravel(v.numpy()) for v in model.trainable_variables])


def test_the_value_equals_that_of_evaluate(train, digits, compiled):
    """With batch norm, dropout and regularization; data is neither shuffled nor augmented."""
    model = compiled(hidden=8, dropout=0.5)
    model.fit(train, epochs=2, verbose=0)
    for layer in model.layers:
        if isinstance(layer, keras.layers.Dense):
            layer.kernel_regularizer = keras.regularizers.L2(0.01)
    model.compile(loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    f = FlatLoss(model, train, batch_size=30)
    np.testing.assert_array_equal(f.weights, vector(model).astype(np.float64))
    x, y = (part[:100] for part in digits)
    expected = model.evaluate(x, y, verbose=0, return_dict=True)["loss"]
    assert f.value_and_gradient(f.weights)[0] == pytest.approx(expected, rel=1e-5)


def test_the_gradient_equals_that_of_one_batch(train, digits, compiled):
    model = compiled(hidden=8)
    x, y = (tf.constant(part[:70]) for part in digits)
    with tf.GradientTape() as tape:
        loss = model.compute_loss(x, y, model(x, training=False))
    expected = tape.gradient(loss, [v.value for v in model.trainable_variables])
    expected = np.concatenate([np.ravel(g) for g in expected])
    f = FlatLoss(model, train, examples=70, batch_size=32)  # the last batch has 6
    value, gradient = f.value_and_gradient(f.weights)
    assert value == pytest.approx(float(loss), rel=1e-6)
    assert gradient.dtype == np.float64
    np.testing.assert_allclose(gradient, expected, rtol=1e-4, atol=1e-6)


def test_other_weights_are_used_and_the_model_is_unchanged(train, compiled):
    model, other = compiled(hidden=8), compiled(hidden=8, seed=1)
    before = [v.numpy() for v in model.variables]
    f, g = (FlatLoss(each, train) for each in (model, other))
    value, gradient = f.value_and_gradient(g.weights)
    expected, gradient_expected = g.value_and_gradient(g.weights)
    assert value == expected != f.value_and_gradient(f.weights)[0]
    np.testing.assert_array_equal(gradient, gradient_expected)
    for variable, array in zip(model.variables, before, strict=True):
        np.testing.assert_array_equal(variable.numpy(), array)


def test_it_stays_the_same_function_while_the_model_trains(train, compiled):
    model = compiled(hidden=8)
    f = FlatLoss(model, train)
    before = f.value_and_gradient(f.weights)
    model.fit(train, verbose=0)
    after = f.value_and_gradient(f.weights)
    assert before[0] == after[0]
    np.testing.assert_array_equal(before[1], after[1])


def test_a_stream_with_sample_weights(digits):
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [keras.Input((8, 8, 1)), keras.layers.Flatten(), keras.layers.Dense(10)]
    )
    model.compile(loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    x, y = (part[:50] for part in digits)
    weights = np.linspace(0, 2, 50).astype("float32")
    stream = tf.data.Dataset.from_tensor_slices((x / 16, y, weights))
    f = FlatLoss(model, Pipeline(stream, batch_size=10), batch_size=20)
    expected = model.evaluate(
        x / 16, y, sample_weight=weights, batch_size=50, verbose=0, return_dict=True
    )["loss"]
    assert f.value_and_gradient(f.weights)[0] == pytest.approx(expected, rel=1e-5)


def test_several_replicas_equal_one_device(train, compiled, mirrored):
    with mirrored.scope():
        model = compiled(hidden=8)
    alone = compiled(hidden=8)
    alone.set_weights(model.get_weights())
    results = [FlatLoss(each, train).value_and_gradient(vector(alone)) for each in (model, alone)]
    assert results[0][0] == pytest.approx(results[1][0], rel=1e-6)
    np.testing.assert_allclose(results[0][1], results[1][1], rtol=1e-4, atol=1e-7)


def test_messages(train, compiled):
    model = compiled()
    with pytest.raises(UserError, match="^examples: expected 1 to 100, received 101"):
        FlatLoss(model, train, examples=101)
    with pytest.raises(UserError, match="^model: expected one set of weights, received lbkeras"):
        FlatLoss(StackedNodes(model, 2), train)
    model.trainable = False
    with pytest.raises(UserError, match="^model: expected trainable weights, received"):
        FlatLoss(model, train)
