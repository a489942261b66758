"""What a Pipeline reads: the forms that Keras' `fit` takes, or one line that says what to do."""

import warnings

import keras
import numpy as np
import pytest
import scipy.sparse
import tensorflow as tf

from lbkeras.data import Pipeline
from lbkeras.errors import UserError

X = np.arange(12, dtype="float32").reshape(4, 3)
Y = np.arange(4, dtype="float32")[:, None]


def batches(source, size=2, **arguments):
    pipeline = Pipeline(source, size, **{"shuffle": False, **arguments})
    return list(pipeline.dataset().as_numpy_iterator())


def joined(parts):
    return tf.nest.map_structure(lambda *each: np.concatenate(each), *parts)


class Difference(keras.Model):
    def __init__(self):
        super().__init__()
        self.total = keras.layers.Dense(1, use_bias=False, kernel_initializer="ones")

    def call(self, inputs):
        first, second = inputs.values() if isinstance(inputs, dict) else inputs
        return self.total(first) - self.total(second)


@pytest.mark.parametrize("form", ["tuple", "list", "dict"])
def test_several_inputs_in_any_form_are_what_keras_makes_of_them(form):
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
    with pytest.raises(UserError, match=r"as a tuple, received a list; several inputs are a list"):
        Pipeline([X, Y], 2)


BATCHED = {
    "batch": lambda rows: rows.batch(2),
    "of one size": lambda rows: rows.batch(2, drop_remainder=True),
    "mapped and prefetched": lambda rows: rows.batch(2, True).map(lambda x, y: (x, y)).prefetch(1),
    "a generator's": lambda rows: tf.data.Dataset.from_generator(
        lambda: ((X[i : i + 2], Y[i : i + 2]) for i in (0, 2)),
        output_signature=(tf.TensorSpec((None, 3)), tf.TensorSpec((None, 1))),
    ).apply(tf.data.experimental.assert_cardinality(2)),
}


@pytest.mark.parametrize("name", BATCHED)
def test_batched_streams_are_refused(name):
    rows = tf.data.Dataset.from_tensor_slices((X, Y))
    with pytest.raises(UserError, match=r"expected an unbatched .*; apply .unbatch\(\)"):
        Pipeline(BATCHED[name](rows), 2)


def test_an_unbatched_stream_is_read():
    rows = tf.data.Dataset.from_tensor_slices((X, Y)).batch(2).unbatch()
    rows = rows.apply(tf.data.experimental.assert_cardinality(4))
    x, y = joined(batches(rows, size=3))
    np.testing.assert_array_equal(x, X)


@pytest.mark.parametrize("shuffle", [False, True])
def test_rows_of_variable_length_are_padded(shuffle):
    lengths = [3, 1, 4, 2]
    signature = tf.TensorSpec((None,), "int32"), tf.TensorSpec((None,), "int32")
    stream = tf.data.Dataset.from_generator(
        lambda: ((np.full(n, n, "int32"), np.full(n, 9, "int32")) for n in lengths),
        output_signature=signature,
    ).apply(tf.data.experimental.assert_cardinality(4))
    seen = []
    for x, y in batches(stream, shuffle=shuffle):
        assert x.shape == y.shape == (2, max(np.count_nonzero(x, axis=1)))
        seen += [row[row > 0].tolist() for row in x]
    assert sorted(seen) == [[n] * n for n in (1, 2, 3, 4)]


def drawn(x):
    return x + tf.random.uniform((), 0, 5, tf.int64)


def rows(number=40):
    return tf.data.Dataset.range(number)


VARYING = {
    "shuffled": (lambda: rows().shuffle(4).map(lambda x: x + 1), "shuffles itself"),
    "inside": (lambda: rows(4).interleave(lambda _: rows(9).shuffle(3)), "shuffles itself"),
    "drawn": (lambda: rows().map(drawn), "draws random numbers itself"),
    "drawn inside": (
        lambda: rows(36).interleave(lambda x: tf.data.Dataset.from_tensors(x).map(drawn)),
        "draws random numbers itself",
    ),
    "map": (lambda: rows().map(abs, 2, deterministic=False), "is not deterministic"),
}


@pytest.mark.parametrize("name", VARYING)
def test_a_stream_that_varies_is_named(name):
    make, what = VARYING[name]
    with pytest.warns(UserWarning, match=f"the stream {what}"):
        stream = make()
        unknown = stream.cardinality() < 0
        Pipeline(stream, 2, num_examples=36 if unknown else None)


def test_a_stream_that_does_not_vary_is_not_named():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        once = rows().shuffle(4, seed=1, reshuffle_each_iteration=False)
        Pipeline(once.map(lambda x: x + 1, 2).prefetch(2), 2)


def test_a_folder_of_images(tmp_path):
    for label in "ab":
        (tmp_path / label).mkdir()
        for number in range(3):
            image = np.full((4, 5, 3), 100 * (label == "b") + number, np.uint8)
            keras.utils.save_img(tmp_path / label / f"{number}.png", image, scale=False)
    images = keras.utils.image_dataset_from_directory(
        tmp_path, batch_size=None, image_size=(4, 5), shuffle=False, verbose=False
    )
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        x, y = joined(batches(images, size=4))
        assert x.shape == (6, 4, 5, 3)
        np.testing.assert_array_equal(x[:, 0, 0, 0], [0, 1, 2, 100, 101, 102])
        np.testing.assert_array_equal(y, [0, 0, 0, 1, 1, 1])
        shuffled = Pipeline(images, 3, seed=1)
    orders = [np.concatenate([y for _, y in shuffled.dataset(epoch)]).tolist() for epoch in (0, 1)]
    assert orders[0] != orders[1] and sorted(orders[0]) == [0, 0, 0, 1, 1, 1]


def of_classes(labels):
    return tf.data.Dataset.from_tensor_slices((np.zeros((len(labels), 1)), labels))


def test_a_stream_sorted_by_class():
    """The batches are as mixed as the buffer is long; too short a one is said."""
    labels = np.repeat(np.arange(4), 40)

    def purity(examples):
        pipeline = Pipeline(of_classes(labels), 16, shuffle_bytes=examples * (2 * 256 + 16))
        counts = [np.bincount(y, minlength=4) for _, y in pipeline.dataset().as_numpy_iterator()]
        return np.mean([max(each) / 16 for each in counts])

    with pytest.warns(UserWarning, match="first 32 examples all have the label 0.*holds 8 of 160"):
        assert purity(8) > 0.8
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert purity(160) < 0.5
        Pipeline(of_classes(labels[::-1] % 2 + np.arange(160) % 2), 16, shuffle_bytes=999)


def asserted(number, said):
    return rows(number).apply(tf.data.experimental.assert_cardinality(said))


@pytest.mark.parametrize("shuffle", [False, True])
@pytest.mark.parametrize("number, batch_size", [(30, 8), (79, 8), (81, 8), (81, 7), (81, 80)])
def test_a_cardinality_that_is_not_true_is_found(number, batch_size, shuffle):
    """Among the first 32 examples when it is made, later before the last batch is out."""
    for stream in (asserted(number, 80), rows(number).filter(lambda x: x >= 0)):
        known = {} if stream.cardinality() == 80 else dict(num_examples=80)
        read = 0
        with pytest.raises((UserError, tf.errors.OpError), match="expected (to contain )?80 e"):
            for _ in Pipeline(stream, batch_size, shuffle=shuffle, **known).dataset():
                read += 1
        assert read < 80 / batch_size


@pytest.mark.parametrize("start", [0, 3])
@pytest.mark.parametrize("number", [40, 37])
def test_a_cardinality_that_is_true_changes_nothing(number, start):
    read = Pipeline(asserted(number, number), 8, shuffle=False).dataset(0, start)
    assert [x for each in read for x in each.numpy()] == list(range(8 * start, number))


def test_an_evaluation_of_a_longer_stream_is_an_error():
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    stream = rows(50).map(lambda x: (tf.cast([x], tf.float32), x))
    data = Pipeline(stream.apply(tf.data.experimental.assert_cardinality(40)), 8, shuffle=False)
    with pytest.raises(tf.errors.OpError, match="expected to contain 40 elements but"):
        model.evaluate(data, verbose=0)


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
