import keras
import numpy as np
import pytest
import tensorflow as tf

from lbkeras.data import Pipeline
from lbkeras.data.labels import check_labels, range_of_labels
from lbkeras.errors import UserError
from lbkeras.losses import LabelSmoothingCrossentropy
from tests.data.examples import X


def test_range_of_labels():
    x = tf.zeros((3, 1))
    assert range_of_labels((x, tf.constant([[4, -1], [2, 7], [0, 1]]))) == (-1, 7)
    for source in ((x,), (x, tf.constant([0.0, 1.0, 2.0])), (x, (tf.range(3), tf.range(3)))):
        assert range_of_labels(source) is None


@pytest.mark.parametrize(
    "loss, refused",
    [
        ("sparse_categorical_crossentropy", True),
        (keras.losses.SparseCategoricalCrossentropy(from_logits=True), True),
        (keras.losses.sparse_categorical_crossentropy, True),
        (LabelSmoothingCrossentropy(from_logits=True), True),
        (["sparse_categorical_crossentropy"], True),
        (keras.losses.SparseCategoricalCrossentropy(ignore_class=9), False),
        ("mse", False),
        (None, False),
        (lambda y, y_pred: y_pred, False),
        (["mse", "mse"], False),
    ],
)
def test_only_losses_whose_labels_number_the_outputs_are_checked(loss, refused):
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(3)])
    model.loss = loss
    check_labels(model, (0, 2))
    for labels in ((-1, 2), (0, 3)):
        if refused:
            with pytest.raises(UserError, match=r"source: expected labels from 0 to 2 .*received"):
                check_labels(model, labels)
        else:
            check_labels(model, labels)


def test_a_model_with_unknown_outputs():
    class Own(keras.Model):
        def call(self, x):
            return x

    model = Own()
    model.compile("sgd", "sparse_categorical_crossentropy")
    check_labels(model, (0, np.iinfo(np.int64).max))


@pytest.mark.parametrize("labels", [[0, 1, -3, 2], [0, 1, 2, 3]])
@pytest.mark.parametrize("call", ["fit", "evaluate"])
@pytest.mark.parametrize("form", ["memory", "stream"])
def test_labels_without_an_output(labels, call, form):
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(3, activation="softmax")])
    source = X, np.array(labels)
    source = source if form == "memory" else tf.data.Dataset.from_tensor_slices(source)
    data = Pipeline(source, 2)
    for loss in ("sparse_categorical_crossentropy", keras.losses.SparseCategoricalCrossentropy()):
        model.compile("sgd", loss)
        received = f"received {min(labels)} to {max(labels)}"
        with pytest.raises(UserError, match=f"source: expected labels from 0 to 2 .*{received}"):
            getattr(model, call)(data, verbose=0)


def test_labels_that_the_loss_ignores():
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(3, activation="softmax")])
    model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(ignore_class=-1))
    loss = model.evaluate(Pipeline((X, np.array([0, -1, 2, 1])), 2, shuffle=False), verbose=0)
    assert np.isfinite(loss)


@pytest.mark.parametrize(
    "source, received",
    [
        (np.zeros((4, 2)), "x alone"),
        ((np.zeros((4, 2)), {"digit": np.zeros(4)}), "a dict as y"),
    ],
)
def test_labels_need_one_array(source, received):
    with pytest.raises(UserError) as error:
        Pipeline(source, 2).labels()
    assert str(error.value) == (
        f"labels: expected (x, y) in memory with one array y, received {received}"
    )
