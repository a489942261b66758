"""Two replicas against one device, through a batch switch."""

import functools

import keras
import numpy as np
import pytest

from lbkeras.callbacks import BatchSizeScheduler, MicroBatches
from lbkeras.data import Pipeline

pytestmark = pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="tf.distribute needs TensorFlow"
)
SIZES = (12, 20)
UPDATES = 5 + 3


def data(count=60):
    generator = np.random.default_rng(0)
    x = generator.normal(size=(count, 6)).astype("float32")
    return x, generator.integers(0, 3, count), generator.uniform(0.1, 2, count).astype("float32")


def make(**compile_arguments):
    keras.utils.set_random_seed(1)
    regularizer = keras.regularizers.L2(0.01)
    model = keras.Sequential(
        [
            keras.Input((6,)),
            keras.layers.Dense(8, activation="tanh", kernel_regularizer=regularizer),
            keras.layers.Dense(3),
        ]
    )
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(loss=loss, weighted_metrics=["accuracy"], **compile_arguments)
    return model


def fitted(model, micro_batch_size=None):
    train, test = Pipeline(data(), SIZES[0]), Pipeline(data(23), 11, shuffle=False)
    callbacks = [BatchSizeScheduler(train, lambda epoch, size: SIZES[epoch])]
    if micro_batch_size:
        callbacks.append(MicroBatches(train, micro_batch_size))
    arguments = dict(validation_data=test, verbose=0, callbacks=callbacks)
    history = model.fit(train, epochs=2, **arguments).history
    assert int(model.optimizer.iterations.numpy()) == UPDATES
    return model.get_weights(), history, model.predict(test, verbose=0)


CLIPPING = {"not clipped": {}, "clipnorm": {"clipnorm": 0.1}, "clipvalue": {"clipvalue": 0.02},
            "global_clipnorm": {"global_clipnorm": 0.1}}  # fmt: skip


def sgd(clipping):
    return keras.optimizers.SGD(0.2, momentum=0.9, **CLIPPING[clipping])


@functools.cache
def on_one_device(clipping):
    return fitted(make(optimizer=sgd(clipping)))


@pytest.mark.parametrize(
    "clipping, steps_per_execution, micro_batch_size",
    [
        ("not clipped", 1, None),
        ("not clipped", 3, None),
        ("clipnorm", 1, None),
        ("global_clipnorm", 3, None),
        ("clipvalue", 1, None),
        ("clipnorm", 3, 4),
    ],
)
def test_two_replicas(mirrored, clipping, steps_per_execution, micro_batch_size):
    with mirrored.scope():
        model = make(optimizer=sgd(clipping), steps_per_execution=steps_per_execution)
    assert model.distribute_strategy.num_replicas_in_sync == 2
    ours, history, prediction = fitted(model, micro_batch_size)
    expected, logs, predicted = on_one_device(clipping)
    for a, b in zip(ours, expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)
    assert history.keys() == logs.keys()
    for name, values in logs.items():
        np.testing.assert_allclose(history[name], values, rtol=1e-5, err_msg=name)
    np.testing.assert_allclose(prediction, predicted, rtol=1e-4, atol=1e-6)
    if clipping != "not clipped":
        others = on_one_device("not clipped")[0]
        assert max(np.abs(a - b).max() for a, b in zip(ours, others, strict=True)) > 0.01
