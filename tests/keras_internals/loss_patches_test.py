"""Losses of parts of a batch, and losses that layers add, equal those on one device."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from lbkeras.errors import UserError
from lbkeras.keras_internals.model import activity_losses_are_sums
from tests.keras_internals.one_layer import arrays, fitted, make


def one_number(y, y_pred):
    return keras.ops.mean(keras.ops.square(y - y_pred))


@pytest.mark.parametrize("method", ["fit", "evaluate"])
def test_a_loss_that_gives_one_number_is_refused(mirrored, method):
    """Each replica's number would count fully: twice the gradient, twice the loss."""
    with mirrored.scope():
        model = make()
        model.compile("sgd", one_number)
    with pytest.raises(ValueError) as raised:
        getattr(model, method)(*arrays(8), batch_size=8, verbose=0)
    of_keras, _, line = ("\n" + str(raised.value)).rpartition("\n")
    # Keras 3.16 turns a loss's error into a ValueError with its own sentence before the message.
    assert isinstance(raised.value, UserError) or "computing loss for output" in of_keras
    assert line.startswith("loss: expected a value for each example on several")


@pytest.mark.slow
@pytest.mark.parametrize(
    "reduction",
    ["sum_over_batch_size", *(pytest.param(r, marks=pytest.mark.release) for r in ("sum", None))],
)
def test_parts_of_unequal_size(mirrored, reduction):
    """23 examples in batches of 11: parts of 6 and 5, in the last batch of 1 and 0."""
    x, y = arrays(23)

    def trained(model):
        loss = keras.losses.MeanSquaredError(reduction=reduction)
        model.compile(keras.optimizers.SGD(0.01), loss, metrics=["mae"])
        options = dict(batch_size=11, verbose=0)
        history = model.fit(x, y, shuffle=False, validation_data=(x, y), **options).history
        return np.concatenate([w.ravel() for w in model.get_weights()]), history

    expected, logs = trained(single := make())
    with mirrored.scope():
        model = make()
    weights, found = trained(model)
    np.testing.assert_allclose(weights, expected, rtol=1e-6)
    if reduction is None:  # one device counts a batch by the square of its size
        single.compile(loss="mse")
        logs["val_loss"] = [single.evaluate(x, y, verbose=0, return_dict=True)["loss"]]
        del found["loss"]
    for name, values in found.items():
        assert values == pytest.approx(logs[name], rel=1e-6), name


class AddsLoss(keras.layers.Layer):
    def call(self, x):
        self.add_loss(0.1 * keras.ops.mean(keras.ops.square(x)))
        return x


@pytest.mark.slow
def test_losses_that_layers_add(mirrored):
    """Replicas communicate in the loss; each must read its own losses."""

    def model():
        keras.utils.set_random_seed(1)
        layers = [keras.layers.Dense(4, activity_regularizer="l2"), AddsLoss()]
        model = keras.Sequential([keras.Input((6,)), *layers, keras.layers.Dense(2)])
        model.compile(keras.optimizers.SGD(0.1), "mse")
        return model

    expected, logs, *_ = fitted(model())
    with mirrored.scope():
        replicas = model()
    if activity_losses_are_sums():  # Keras before 3.14
        with pytest.raises(UserError, match="^activity_regularizer: expected none on several"):
            fitted(replicas)
        return
    weights, found, *_ = fitted(replicas)
    np.testing.assert_allclose(weights, expected, rtol=1e-5, atol=1e-7)
    assert found["loss"] == pytest.approx(logs["loss"], rel=1e-6)


class AddsItsMean(keras.layers.Layer):
    def call(self, x):
        self.add_loss(keras.ops.mean(keras.ops.square(x)))
        return x


@pytest.mark.parametrize("count", [23, 33])
def test_added_losses_of_uneven_parts_in_an_evaluation(mirrored, count):
    """The last batch has one example, so that one replica has none, or it has eleven."""
    x, y = arrays(count)
    values = []
    for strategy in (tf.distribute.get_strategy(), mirrored):
        keras.utils.set_random_seed(1)
        with strategy.scope():
            dense = keras.layers.Dense(2, kernel_regularizer="l2", activity_regularizer="l2")
            model = keras.Sequential([keras.Input((6,)), AddsItsMean(), dense])
            model.compile("sgd", "mse")
        if strategy is mirrored and activity_losses_are_sums():  # Keras before 3.14
            with pytest.raises(UserError, match="^activity_regularizer: expected none on several"):
                model.evaluate(x, y, batch_size=22, verbose=0)
            return
        values.append(model.evaluate(x, y, batch_size=22, verbose=0))
    assert values[1] == pytest.approx(values[0], rel=1e-6)
