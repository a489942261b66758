import keras
import numpy as np
import pytest
import tensorflow as tf

from lbkeras.callbacks import AverageStatistics, BatchSizeScheduler
from lbkeras.data import Pipeline
from lbkeras.distribution import average_over_replicas
from lbkeras.layers import GhostBatchNormalization


def make_model(*layers):
    model = keras.Sequential(
        [keras.Input((8, 8, 1)), keras.layers.Flatten(), *layers, keras.layers.Dense(10)]
    )
    model.compile(
        keras.optimizers.SGD(0.0),  # keeps the norm's inputs equal to the data
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
    )
    return model


def expected(images, order, batch_size, momentum, replicas=2):
    """Returns each replica's exponentially averaged moments, averaged over replicas."""
    averages = []
    for replica in range(replicas):
        mean, variance = np.zeros(64), np.ones(64)
        for first in range(0, len(order) - batch_size + 1, batch_size):
            batch = images[order[first : first + batch_size]].reshape(replicas, -1, 64)[replica]
            mean = momentum * mean + (1 - momentum) * batch.mean(axis=0)
            variance = momentum * variance + (1 - momentum) * batch.var(axis=0)
        averages.append((mean, variance))
    return np.mean(averages, axis=0)


@pytest.fixture(scope="module")
def data(digits):
    images, labels = digits
    return images[:480].astype("float32"), labels[:480]


@pytest.mark.slow
def test_evaluation_and_saved_model_have_the_mean_over_replicas(mirrored, data, tmp_path):
    from lbkeras.data.order import epoch_order

    images, labels = data
    images = images * np.linspace(1, 3, 480)[:, None, None, None].astype("float32")
    with mirrored.scope():
        model = make_model(keras.layers.BatchNormalization(momentum=0.7))
    train = Pipeline((images, labels), 96)
    history = model.fit(
        train,
        epochs=1,
        verbose=0,
        validation_data=Pipeline((images, labels), 100, shuffle=False),
        callbacks=[BatchSizeScheduler(train, lambda epoch, size: size), AverageStatistics()],
    ).history
    mean, variance = expected(images, epoch_order(480, 0, 0), 96, 0.7)
    norm = model.layers[1]
    np.testing.assert_allclose(norm.moving_mean.numpy(), mean, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(norm.moving_variance.numpy(), variance, rtol=1e-5)
    for part in mirrored.experimental_local_results(norm.moving_mean.value):
        np.testing.assert_array_equal(part.numpy(), norm.moving_mean.numpy())

    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    loss, accuracy = loaded.evaluate(images, labels, batch_size=100, verbose=0)
    assert history["val_loss"] == [pytest.approx(loss, rel=1e-6)]
    assert history["val_accuracy"] == [pytest.approx(accuracy, rel=1e-6)]


def test_without_it_the_replicas_differ(mirrored, data):
    images, labels = data
    with mirrored.scope():
        model = make_model(keras.layers.BatchNormalization())
    model.fit(images, labels, batch_size=96, epochs=1, verbose=0)
    first, second = mirrored.experimental_local_results(model.layers[1].moving_mean.value)
    assert np.max(np.abs(first.numpy() - second.numpy())) > 1e-3


@pytest.mark.parametrize(
    "norm",
    [
        lambda: keras.layers.BatchNormalization(synchronized=True),
        pytest.param(
            lambda: GhostBatchNormalization(24, synchronized=True), marks=pytest.mark.release
        ),
    ],
    ids=["synchronized", "ghost"],
)
def test_synchronized_statistics_stay_bit_for_bit_the_same(mirrored, data, norm):
    images, labels = data
    with mirrored.scope():
        model = make_model(norm())
    model.fit(images, labels, batch_size=96, epochs=1, verbose=0)
    before = [v.numpy() for v in model.non_trainable_variables]
    average_over_replicas(model)
    for array, variable in zip(before, model.non_trainable_variables, strict=True):
        np.testing.assert_array_equal(variable.numpy(), array)
        for part in mirrored.experimental_local_results(variable.value):
            np.testing.assert_array_equal(part.numpy(), array)


def test_on_one_device_nothing_changes(data):
    images, labels = data
    model = make_model(keras.layers.BatchNormalization())
    average_over_replicas(model)
    model.fit(images, labels, batch_size=96, verbose=0, callbacks=[AverageStatistics()])
    assert isinstance(model.layers[1].moving_mean.value, tf.Variable)
