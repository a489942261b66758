"""A Pipeline reads the forms that Keras' `fit` takes, or says in one line what to do."""

import keras
import numpy as np
import pytest
import scipy.sparse
import tensorflow as tf

from lbkeras.data import Pipeline
from lbkeras.errors import UserError
from tests.data.examples import X, Y, batches, joined


class Difference(keras.Model):
    def __init__(self):
        super().__init__()
        self.total = keras.layers.Dense(1, use_bias=False, kernel_initializer="ones")

    def call(self, inputs):
        first, second = inputs.values() if isinstance(inputs, dict) else inputs
        return self.total(first) - self.total(second)


@pytest.mark.parametrize("form", ["tuple", "list", "dict"])
def test_several_inputs_in_any_form_are_treated_as_by_keras(form):
    x = {"tuple": (X, X + 100), "list": [X, X + 100], "dict": {"a": X, "b": X + 100}}[form]
    y = np.zeros((4, 1), "float32")
    model = Difference()
    model.compile("sgd", "mse")
    expected = model.evaluate(x, y, batch_size=2, verbose=0)
    assert expected == 90000
    assert model.evaluate(Pipeline((x, y), 2, shuffle=False), verbose=0) == expected
    alone = x if form == "dict" else (x,)
    predicted = model.predict(Pipeline(alone, 2, shuffle=False), verbose=0)
    np.testing.assert_array_equal(predicted, model.predict(x, verbose=0))


def test_nested_lists_of_numbers_and_strings_are_arrays():
    x, y = joined(batches(([[1, 2], [3, 4], [5, 6]], [0.5, 1.5, 2.5])))
    np.testing.assert_array_equal(x, [[1, 2], [3, 4], [5, 6]])
    np.testing.assert_array_equal(y, [0.5, 1.5, 2.5])
    (x,) = joined(batches(["a", "b", "c"]))
    assert x.tolist() == [b"a", b"b", b"c"]
    (x,) = joined(batches(np.array(["a", "bc"], object)))
    assert x.tolist() == [b"a", b"bc"]


def test_x_alone_is_predicted():
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
    expected = model.predict(X, verbose=0)
    for source in (X, X.tolist(), tf.constant(X), tf.data.Dataset.from_tensor_slices(X)):
        predicted = model.predict(Pipeline(source, 3, shuffle=False), verbose=0)
        np.testing.assert_allclose(predicted, expected, rtol=1e-6)


def test_floats_are_keras_floats():
    for dtype in ("float64", "float16"):
        ((x, y),) = batches((X.astype(dtype), Y.astype(dtype)), size=4)
        assert x.dtype == y.dtype == np.float32
    ((x, _),) = batches((X.astype("uint8"), Y), size=4)
    assert x.dtype == np.uint8


def test_an_evaluation_batch_may_be_larger_than_the_data():
    ((x, _),) = batches((X, Y), size=256)
    np.testing.assert_array_equal(x, X)
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    loss = model.evaluate(Pipeline((X, Y), 256, shuffle=False), verbose=0)
    assert loss == pytest.approx(model.evaluate(X, Y, verbose=0), rel=1e-6)
    with pytest.raises(UserError, match="expected 1 to 4"):
        Pipeline((X, Y), 5)


def test_predictions_of_shuffled_data_are_refused():
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
    with pytest.raises(UserError, match="predict: expected a Pipeline.*shuffle=False"):
        model.predict(Pipeline((X, Y), 2), verbose=0)


@pytest.mark.parametrize(
    "x, received",
    [
        (
            lambda: tf.ragged.constant([[1], [2, 3]]),
            "a RaggedTensor; apply .to_tensor(), which pads it",
        ),
        (lambda: tf.sparse.from_dense([[1], [2]]), "a SparseTensor; apply tf.sparse.to_dense"),
        (lambda: scipy.sparse.csr_matrix([[1], [2]]), "a csr_matrix; apply .toarray()"),
        (lambda: [[1], [2, 3]], "rows of different lengths; pad them to one length"),
        (lambda: np.array([None, {}], object), "an array of Python objects"),
    ],
    ids=["ragged", "sparse", "scipy", "lengths", "objects"],
)
def test_what_is_not_dense_is_refused(x, received):
    with pytest.raises(UserError) as error:
        Pipeline((x(), np.zeros(2)), 1)
    expected = "source: expected dense arrays of numbers or strings, received "
    assert str(error.value) == expected + received


def test_a_list_at_the_top_is_refused():
    with pytest.raises(UserError, match=r"as a tuple, received a list; give several inputs"):
        Pipeline([X, Y], 2)
