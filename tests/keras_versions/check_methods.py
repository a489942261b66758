"""What callbacks learn from inside Keras' train step: step losses and pieces' gradients."""

import math

import keras
import numpy as np
import pytest

from lbkeras.callbacks import AutoWU, GradientNoiseScale, MicroBatches, TrainingStatistics
from lbkeras.data import Pipeline
from lbkeras.planning import auto_wu_plan
from tests.keras_versions.softmax_regression import by_numpy, softmax_regression
from tests.methods.micro_batches import piece_gradients as pieces

pytestmark = pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="these callbacks are TensorFlow's"
)


@pytest.mark.parametrize("steps_per_execution", [1, 3])
def test_auto_wu_hears_the_loss_of_each_step(digits, monkeypatch, steps_per_execution):
    heard = []

    def judge(epochs, state=None, seed=0):
        heard[:] = [list(losses) for losses in epochs]
        mean = np.zeros(500)
        return Judgement(0, (1.0,) * 5, mean, mean + 0.1, [float(len(epochs))])

    from lbkeras.methods.auto_wu import callback as auto_wu
    from lbkeras.methods.auto_wu.judgement import Judgement

    monkeypatch.setattr(auto_wu, "judge", judge)
    train = Pipeline(digits, 256)
    plan = auto_wu_plan(epochs=6, batch_size=256, momentum=0.9, num_examples=1437)
    optimizer = keras.optimizers.SGD(1.0, momentum=0.9)
    model = softmax_regression(optimizer, steps_per_execution=steps_per_execution)
    model.fit(train, epochs=2, verbose=0, callbacks=[AutoWU(train, plan)])
    rates = [1e-5 * 1e5 ** (update / 5 / 3) for update in range(10)]  # up to 1 in 3 epochs
    _, losses = by_numpy(Pipeline(digits, 256), (256,) * 2, (0.9,) * 2, rates)
    np.testing.assert_allclose(heard, losses, rtol=1e-4)


def test_the_gradient_noise_scale_of_micro_batches(digits):
    few = tuple(part[:320] for part in digits)
    bounds = [(0, 16), (16, 32), (32, 40)]

    def make():
        keras.utils.set_random_seed(0)
        model = keras.Sequential(
            [keras.Input((8, 8, 1)), keras.layers.Rescaling(1 / 16), keras.layers.Flatten(),
             keras.layers.Dense(8, "tanh", kernel_regularizer="l2"), keras.layers.Dense(10)]
        )  # fmt: skip
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        model.compile(keras.optimizers.SGD(0.1), loss)
        return model

    train, model = Pipeline(few, 40, seed=1), make()
    callbacks = [GradientNoiseScale(train, window_epochs=2.0), MicroBatches(train, 16)]
    history = model.fit(train, epochs=2, verbose=0, callbacks=callbacks).history
    rows, other = [], make()
    for epoch in range(2):
        for batch in train.dataset(epoch):
            each = pieces.gradients(other, batch, bounds)
            rows.append(pieces.estimates(each, [16, 16, 8]))
            pieces.update(other, -0.1 * np.array([16, 16, 8]) @ each / 40)
    expected = pieces.means(rows, math.exp(-40 / 320 / 2))
    names = ["gradient_variance", "gradient_squared_norm", "gradient_noise_scale"]
    for name, value in zip(names, expected, strict=False):
        assert history[name][-1] == pytest.approx(value, rel=2e-4), name


def test_training_statistics(digits):
    train = Pipeline(digits, 256)
    model = softmax_regression(keras.optimizers.SGD(0.1, momentum=0.9))
    history = model.fit(train, epochs=2, verbose=0, callbacks=[TrainingStatistics(train)]).history
    assert history["updates"] == [5, 10] and history["examples_seen"] == [1280, 2560]
    assert history["batch_size"] == [256, 256]
    assert history["learning_rate"] == [pytest.approx(0.1)] * 2
    assert history["noise_scale"] == [pytest.approx(0.1 * 1437 / 256 / 0.1)] * 2
