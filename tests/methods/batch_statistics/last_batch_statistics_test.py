import keras
import numpy as np
import pytest

from lbkeras.callbacks import AverageStatistics, BatchSizeScheduler, LastBatchStatistics
from lbkeras.data import Pipeline
from lbkeras.errors import UserError
from lbkeras.layers import GhostBatchNormalization


def _statistics(model):
    (layer,) = (x for x in model.layers if isinstance(x, keras.layers.BatchNormalization))
    return layer.moving_mean.numpy(), layer.moving_variance.numpy()


def _before_normalisation(model, images):
    names = [layer.name for layer in model.layers]
    place = next(
        i for i, x in enumerate(model.layers) if isinstance(x, keras.layers.BatchNormalization)
    )
    hidden = keras.Model(model.inputs, model.get_layer(names[place - 1]).output)
    return hidden.predict(images, verbose=0)


def test_the_statistics_are_those_of_the_last_batch(compiled, digits):
    # A learning rate of 0 keeps the weights, so the last batch's statistics are known afterwards.
    model = compiled(keras.optimizers.SGD(0.0), hidden=5)
    train = Pipeline(digits, 400, seed=3)
    callbacks = [BatchSizeScheduler(train, lambda epoch, size: 300), LastBatchStatistics()]
    model.fit(train, epochs=2, verbose=0, callbacks=callbacks)
    *_, (images, _) = train.dataset(epoch=1)
    values = _before_normalisation(model, images.numpy())
    assert len(values) == 300
    mean, variance = _statistics(model)
    np.testing.assert_allclose(mean, values.mean(0), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(variance, values.var(0), rtol=1e-4)


@pytest.mark.slow
def test_replicas_are_averaged(mirrored, compiled, digits):
    with mirrored.scope():
        model = compiled(keras.optimizers.SGD(0.0), hidden=5)
    train = Pipeline(digits, 300, seed=3)
    callbacks = [
        BatchSizeScheduler(train, lambda epoch, size: size),
        LastBatchStatistics(),
        AverageStatistics(),
    ]
    model.fit(train, epochs=1, verbose=0, callbacks=callbacks)
    *_, (images, _) = train.dataset(epoch=0)
    with mirrored.scope():
        values = _before_normalisation(model, images.numpy())
    parts = values[:150], values[150:]
    mean, variance = _statistics(model)
    np.testing.assert_allclose(mean, values.mean(0), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(variance, np.mean([x.var(0) for x in parts], 0), rtol=1e-4)


def test_all_ghosts_of_the_batch_count():
    layers = [keras.Input((2,)), GhostBatchNormalization(4)]
    model = keras.Sequential(layers)
    model.compile("sgd", "mse")
    x = np.random.default_rng(0).normal(size=(8, 2)).astype("float32")
    model.fit(x, x, batch_size=8, verbose=0, shuffle=False, callbacks=[LastBatchStatistics()])
    mean, variance = _statistics(model)
    np.testing.assert_allclose(mean, x.mean(0), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(variance, np.mean([x[:4].var(0), x[4:].var(0)], 0), rtol=1e-4)


@pytest.mark.slow
def test_training_does_not_change(compiled, digits):
    losses = []
    for callbacks in ([], [LastBatchStatistics()]):
        model = compiled(hidden=5)
        history = model.fit(Pipeline(digits, 100), epochs=2, verbose=0, callbacks=callbacks)
        losses.append(history.history["loss"])
    np.testing.assert_allclose(*losses, rtol=1e-6)


def test_a_model_without_batch_normalization(compiled, digits):
    model = compiled()
    with pytest.raises(UserError, match="^LastBatchStatistics: expected a model with batch norm"):
        model.fit(Pipeline(digits, 100), verbose=0, callbacks=[LastBatchStatistics()])
