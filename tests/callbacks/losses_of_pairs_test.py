"""Losses over pairs of the batch are refused where it is divided, on the first batch; no others."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import ops

from lbkeras.callbacks import BatchSizeScheduler, MicroBatches
from lbkeras.data import Pipeline
from lbkeras.errors import UserError


def ranking(y_true, y_pred):
    order = ops.sign(y_true - ops.transpose(y_true))
    return ops.mean(ops.relu(1 - order * (y_pred - ops.transpose(y_pred))), axis=1)


def of_pairs(loss):
    return loss in (ranking, "circle")


LOSSES = [
    ranking,
    "circle",
    "mse",
    "binary_crossentropy",
    "sparse_categorical_crossentropy",
    "categorical_crossentropy",
    "cosine_similarity",
    "huber",
    "kl_divergence",
    "poisson",
]


def fit(loss, callbacks, strategy=None):
    labels = np.arange(16) % 3
    y = labels if loss in ("circle", "sparse_categorical_crossentropy") else np.eye(3)[labels]
    y = labels[:, None].astype("float32") if loss is ranking else y
    train = Pipeline((np.random.default_rng(0).normal(size=(16, 5)), y), 8)
    with (strategy or tf.distribute.get_strategy()).scope():
        layers = [keras.Input((5,)), keras.layers.Dense(1 if loss is ranking else 3, "softmax")]
        model = keras.Sequential(layers)
        model.compile("sgd", keras.losses.Circle() if loss == "circle" else loss)
    try:
        model.fit(train, verbose=0, callbacks=callbacks(train))
    finally:
        updates = int(model.optimizer.iterations.numpy())
        assert updates == (0 if of_pairs(loss) else 2)


@pytest.mark.parametrize("loss", LOSSES, ids=lambda loss: getattr(loss, "__name__", loss))
def test_in_micro_batches(loss):
    if not of_pairs(loss):
        return fit(loss, lambda train: [MicroBatches(train, 4)])
    with pytest.raises(UserError, match="does not depend on the other .* micro-batches, received"):
        fit(loss, lambda train: [MicroBatches(train, 4)])


@pytest.mark.parametrize("loss", ["circle", "mse"])
def test_on_replicas(loss, mirrored):
    def callbacks(train):
        return [BatchSizeScheduler(train, lambda epoch, size: size)]

    if not of_pairs(loss):
        return fit(loss, callbacks, mirrored)
    with pytest.raises(UserError, match="does not depend on .*, for replicas, received circle"):
        fit(loss, callbacks, mirrored)


def test_undivided_they_train():
    with pytest.raises(AssertionError, match="assert 2 == "):
        fit("circle", lambda train: [MicroBatches(train)])
