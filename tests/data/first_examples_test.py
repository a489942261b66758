"""Streams that are batched, vary or are sorted by class are noticed when a Pipeline is made."""

import warnings

import keras
import numpy as np
import pytest
import tensorflow as tf

from lbkeras.data import Pipeline
from lbkeras.errors import UserError
from tests.data.examples import X, Y, batches, joined, rows

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


def test_batches_are_named_before_they_are_counted_as_examples():
    """They are fewer than the examples that the user has in mind."""
    rows = tf.data.Dataset.from_tensor_slices((X, Y)).batch(3)
    for arguments in (dict(batch_size=4), dict(batch_size=1, num_examples=4)):
        with pytest.raises(UserError, match=r"expected an unbatched .*; apply .unbatch\(\)"):
            Pipeline(rows, **arguments)


def test_an_unbatched_stream_is_read():
    rows = tf.data.Dataset.from_tensor_slices((X, Y)).batch(2).unbatch()
    rows = rows.apply(tf.data.experimental.assert_cardinality(4))
    x, y = joined(batches(rows, size=3))
    np.testing.assert_array_equal(x, X)


def drawn(x):
    return x + tf.random.uniform((), 0, 5, tf.int64)


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
def test_a_stream_that_varies_gives_a_warning(name):
    make, what = VARYING[name]
    with pytest.warns(UserWarning, match=f"the stream {what}"):
        stream = make()
        unknown = stream.cardinality() < 0
        Pipeline(stream, 2, num_examples=36 if unknown else None)


def test_a_stream_that_does_not_vary_gives_no_warning():
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
    """A longer buffer mixes the batches better; a warning says if it is too short."""
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
