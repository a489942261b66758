"""The accuracy under FGSM agrees with NumPy for softmax regression."""

import keras
import numpy as np
import pytest

from lbkeras.callbacks import AdversarialAccuracy
from lbkeras.data import Pipeline
from lbkeras.errors import UserError

N, CLASSES, EPSILON = 50, 3, 2.0


def examples(one_hot=False):
    generator = np.random.default_rng(0)
    x = generator.integers(0, 17, (N, 4)).astype("uint8")
    y = np.argmax(x[:, :CLASSES], axis=1)
    return x, np.eye(CLASSES, dtype="float32")[y] if one_hot else y


def a_model(*outputs, loss=None):
    keras.utils.set_random_seed(0)
    inputs = keras.Input((4,), dtype="uint8")
    x = keras.layers.Rescaling(1 / 16)(inputs)
    model = keras.Model(inputs, [layer(x) for layer in outputs] or keras.layers.Dense(CLASSES)(x))
    loss = loss or keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.SGD(1.0), loss, metrics=["accuracy"])
    return model


@pytest.mark.parametrize("one_hot", [False, pytest.param(True, marks=pytest.mark.release)])
def test_equals_the_accuracy_on_examples_moved_along_the_gradients_sign(one_hot):
    losses = keras.losses
    kind = losses.CategoricalCrossentropy if one_hot else losses.SparseCategoricalCrossentropy
    model = a_model(loss=kind(from_logits=True))
    test = Pipeline(examples(one_hot), 7, shuffle=False)
    measure = AdversarialAccuracy(test, EPSILON, every_epochs=2)
    history = model.fit(*examples(one_hot), epochs=3, batch_size=10, verbose=0,
                        validation_data=test, callbacks=[measure]).history  # fmt: skip
    kernel, bias = model.get_weights()
    x, y = examples()

    def logits(x):
        return x / 16 @ kernel + bias

    away = np.exp(logits(x)) / np.exp(logits(x)).sum(1, keepdims=True) - np.eye(CLASSES)[y]
    moved = x + EPSILON * np.sign(away @ kernel.T)
    expected = np.mean(np.argmax(logits(moved), 1) == y)
    assert len(history["val_fgsm_accuracy"]) == 2  # after the second epoch and the last
    assert history["val_fgsm_accuracy"][-1] == expected
    assert 0 < expected < history["val_accuracy"][-1] - 0.1
    assert history["val_accuracy"][-1] == np.mean(np.argmax(logits(x), 1) == y).astype("float32")


def test_what_cannot_be_measured_is_refused():
    with pytest.raises(UserError, match="validation: expected a lbkeras.data.Pipeline, received t"):
        AdversarialAccuracy(examples(), 1.0)
    test = Pipeline(examples(), 10)
    for model in (
        a_model(keras.layers.Dense(1), loss="mse"),
        a_model(keras.layers.Dense(2), keras.layers.Dense(2), loss=["mse", "mse"]),
    ):
        measure = AdversarialAccuracy(test, 1.0)
        measure.set_model(model)
        with pytest.raises(UserError, match="model: expected one output with a value for each"):
            measure.measure()
    with pytest.raises(UserError, match="AdversarialAccuracy: expected a model, from `fit`"):
        AdversarialAccuracy(test, 1.0).measure()


class OwnLoss(keras.Model):
    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None):  # no `training`
        return keras.ops.mean(super().compute_loss(x, y, y_pred, sample_weight))


def test_a_custom_loss_need_not_take_training():
    inputs = keras.Input((4,))
    model = OwnLoss(inputs, keras.layers.Dense(CLASSES)(inputs))
    model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    measure = AdversarialAccuracy(Pipeline(examples(), 10), 1.0)
    measure.set_model(model)
    assert 0 <= measure.measure() <= 1
