"""Where the batch is divided, losses that are not per example are refused before any update."""

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


def by_count(y_true, y_pred):
    same = ops.cast(ops.equal(y_true, ops.transpose(y_true)), y_pred.dtype)
    return ops.mean(ops.square(y_true - y_pred), axis=-1) / ops.sum(same, axis=1)


def one_number(y_true, y_pred):
    return ops.mean(ops.square(y_true - y_pred))


def by_column(y_true, y_pred):
    return ops.mean(ops.square(y_true - y_pred), axis=0)


def of_pairs(loss):
    return loss in (ranking, by_count, "circle")


LOSSES = [
    ranking,
    by_count,
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
    of_numbers = loss in (ranking, by_count)
    if of_numbers:  # the first targets, which the check reads, are distinct
        y = (np.arange(16) % 5)[:, None].astype("float32")
    train = Pipeline((np.random.default_rng(0).normal(size=(16, 5)), y), 8)
    with (strategy or tf.distribute.get_strategy()).scope():
        layers = [keras.Input((5,)), keras.layers.Dense(1 if of_numbers else 3, "softmax")]
        model = keras.Sequential(layers)
        model.compile("sgd", keras.losses.Circle() if loss == "circle" else loss)
    error = None
    try:
        model.fit(train, verbose=0, callbacks=callbacks(train))
    except UserError as raised:
        error = str(raised)
    return int(model.optimizer.iterations.numpy()), error


def expected_outcome(loss, where: str) -> tuple:
    """Returns `(updates, error)` of a divided batch: `(0, message)` for pairs, else `(2, None)`."""
    if not of_pairs(loss):
        return 2, None
    name = loss if loss == "circle" else loss.__name__
    return 0, (
        "loss: expected one that treats each example of the batch independently, for "
        f"{where}, received {name}"
    )


@pytest.mark.parametrize("loss", LOSSES, ids=lambda loss: getattr(loss, "__name__", loss))
def test_only_losses_over_pairs_are_refused_in_micro_batches(loss):
    outcome = fit(loss, lambda train: [MicroBatches(train, 4)])
    assert outcome == expected_outcome(loss, "micro-batches")


@pytest.mark.parametrize("loss, shape", [(one_number, "()"), (by_column, "(3,)")])
def test_losses_without_one_value_per_example_are_refused(loss, shape):
    message = (
        f"loss: expected one value per example, for micro-batches, received {loss.__name__}, which "
        f"returns shape {shape} for 4 examples; let it return the values before their mean"
    )
    assert fit(loss, lambda train: [MicroBatches(train, 4)]) == (0, message)


@pytest.mark.parametrize("loss", ["circle", "mse"])
def test_only_losses_over_pairs_are_refused_on_replicas(loss, mirrored):
    def callbacks(train):
        return [BatchSizeScheduler(train, lambda epoch, size: size)]

    assert fit(loss, callbacks, mirrored) == expected_outcome(loss, "replicas")


def test_losses_over_pairs_train_on_undivided_batches():
    assert fit("circle", lambda train: [MicroBatches(train)]) == (2, None)
