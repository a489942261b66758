import keras
import numpy as np
import pytest
import tensorflow as tf

from lbkeras.keras_internals import compiled_loss

TOTAL = [keras.losses.MeanSquaredError(), keras.losses.MeanAbsoluteError()]


def two_outputs(loss, **arguments):
    keras.utils.set_random_seed(0)
    inputs = keras.Input((3,))
    outputs = [keras.layers.Dense(1, name=name)(inputs) for name in ("a", "b")]
    model = keras.Model(inputs, outputs)
    model.compile("sgd", loss, **arguments)
    x = np.random.default_rng(0).normal(size=(4, 3)).astype("f")
    y = [np.ones((4, 1), "f"), np.zeros((4, 1), "f")]
    model.fit(x, y, verbose=0)
    return model, x, y


def test_the_losses_of_each_output():
    model, _, _ = two_outputs(TOTAL)
    assert compiled_loss.has_loss(model)
    assert compiled_loss.losses(model) == TOTAL
    names = [metric.name for metric in compiled_loss.loss_metrics(model)]
    assert names == ["a_loss", "b_loss"]


def test_a_model_without_a_loss_has_none():
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
    model.compile("sgd")
    assert not compiled_loss.has_loss(model)
    assert compiled_loss.losses(model) == compiled_loss.loss_metrics(model) == []


def test_replaced_losses_are_weighted_like_the_models_own():
    model, x, y = two_outputs(TOTAL, loss_weights=[1.0, 10.0])
    before = compiled_loss.losses(model)

    class Constant(keras.losses.Loss):
        def __init__(self, value):
            super().__init__()
            self.value = value

        def __call__(self, y_true, y_pred, sample_weight=None):
            return tf.constant(self.value)

    replaced = compiled_loss.with_losses(model, [Constant(2.0), Constant(3.0)])
    assert float(replaced(y, model(x), None)) == pytest.approx(1 * 2.0 + 10 * 3.0)
    assert compiled_loss.losses(model) == before
    predicted = model(x)
    expected = np.mean((predicted[0] - 1) ** 2) + 10 * np.mean(np.abs(predicted[1]))
    assert float(model.compute_loss(x, y, predicted)) == pytest.approx(expected, rel=1e-6)


def test_the_mask_of_a_layer():
    embedded = keras.layers.Embedding(5, 2, mask_zero=True)(np.array([[1, 0], [2, 3]]))
    mask = compiled_loss.mask_of(embedded)
    np.testing.assert_array_equal(mask, [[True, False], [True, True]])
    other = tf.ones((2, 2, 1))
    assert compiled_loss.mask_of(other) is None
    compiled_loss.set_mask(other, None)
    assert compiled_loss.mask_of(other) is None
    compiled_loss.set_mask(other, mask)
    # A Keras loss divides by the mask's sum: three values count.
    loss = keras.losses.MeanSquaredError()(tf.constant([[[3.0], [9.0]], [[3.0], [3.0]]]), other)
    assert float(loss) == pytest.approx(4.0)
