"""Users' objects that have a length and return examples by their numbers."""

import collections
import time
import warnings

import numpy as np
import pytest
import scipy.sparse
import tensorflow as tf

from lbkeras.data import Pipeline
from lbkeras.data.arrays import is_items
from lbkeras.errors import UserError
from tests.data.examples import Items, X, Y, batches, joined


def test_the_same_as_arrays():
    for parts, shuffle in (((X, Y, Y[:, 0]), False), ((X * 2.0, {"a": Y, "b": (X, Y)}), True)):
        ours, theirs = (Pipeline(each, 3, shuffle=shuffle) for each in (Items(*parts), parts))
        found, expected = (list(each.dataset().as_numpy_iterator()) for each in (ours, theirs))
        assert len(found) == (1 if shuffle else 2)
        tf.nest.map_structure(np.testing.assert_array_equal, found, expected)
        tf.nest.assert_same_structure(ours.element_spec, found[0])


def test_x_alone():
    for item in (lambda i: X[i], lambda i: (X[i],), lambda i: (X[i], None)):
        np.testing.assert_array_equal(joined(batches(Items(item))), X)
    found = joined(batches(Items(lambda i: {"a": X[i], "b": Y[i]})))
    np.testing.assert_array_equal(found["a"], X)
    np.testing.assert_array_equal(found["b"], Y)


def test_numbers_strings_and_tensors():
    encoded = [b"a\0", b"bcd", b"", b"\0\0"]
    names = ["a", "ä", "", "bc"]

    def item(i):
        x = {"bytes": encoded[i], "str": names[i], "array": np.array(names[i])}
        return x, i, tf.constant(i / 2)

    x, y, w = joined(batches(Items(item)))
    assert x["bytes"].tolist() == encoded
    for key in ("str", "array"):
        assert [each.decode() for each in x[key]] == names
    assert y.tolist() == [0, 1, 2, 3] and y.dtype == np.int64
    assert w.tolist() == [0, 0.5, 1, 1.5] and w.dtype == np.float32
    x, y = joined(batches(Items(lambda i: ([1, i], np.float64(i)))))
    assert x.tolist() == [[1, 0], [1, 1], [1, 2], [1, 3]] and y.dtype == np.float32


def test_one_thread_at_a_time_reads_the_object():
    """All items may seek in one open file."""
    asked, most = [], []

    class Slow:
        def __len__(self):
            return 200

        def __getitem__(self, i):
            asked.append(i)
            time.sleep(0.0005)
            most.append(len(asked))
            asked.remove(i)
            return np.float32(i)

    assert joined(batches(Slow(), 200)).tolist() == list(range(200))
    assert max(most) == 1


def test_an_object_may_reuse_its_arrays():
    image, encoded = np.zeros(3, np.uint8), np.zeros(1, object)

    def item(i):
        image[:], encoded[0] = i, b"%d" % i
        return (image, encoded), np.float32(i)

    (found, strings), y = joined(batches(Items(item), 4))
    assert found.tolist() == [[i] * 3 for i in range(4)] and y.tolist() == [0, 1, 2, 3]
    assert strings.tolist() == [[b"%d" % i] for i in range(4)]


def test_rows_of_several_lengths_are_padded_by_batch():
    lengths = [3, 1, 4, 2]
    source = Items(lambda i: (np.full(lengths[i], i + 1), np.array(["a"] * lengths[i])))
    found = batches(source, 2)
    assert [x.shape for x, _ in found] == [(2, 3), (2, 4)]
    assert found[0][0].tolist() == [[1, 1, 1], [2, 0, 0]]
    assert found[1][1].tolist() == [[b"a"] * 4, [b"a", b"a", b"", b""]]


def test_images_of_several_sizes_are_decoded():
    images = [np.full((2 + i, 5 - i, 3), i, np.uint8) for i in range(4)]
    shapes = []

    def decode(example, seed):
        image, label = example
        shapes.append(image.shape.as_list())
        return tf.image.resize(image, (2, 2)), tf.stack(
            [tf.cast(label, tf.int32), *tf.unstack(tf.shape(image))]
        )

    x, y = joined(batches(Items(lambda i: (images[i], i)), decode=decode))
    assert y.tolist() == [[i, *image.shape] for i, image in enumerate(images)]
    np.testing.assert_array_equal(x[:, 0, 0, 0], range(4))
    assert shapes[0] == [None, None, 3]


def test_getitems_reads_several_at_once():
    class Several(Items):
        def __getitems__(self, places):
            assert all(type(each) is int for each in places)
            self.asked.append(places)
            return [self[each] for each in places]

    source = Several(np.arange(200), np.arange(200))
    source.asked = []
    x, y = joined(batches(source, 64, shuffle=True, seed=3))
    np.testing.assert_array_equal(x, y)
    assert max(map(len, source.asked)) > 32
    source.read.clear()
    expected = joined(batches((np.arange(200), np.arange(200)), 64, shuffle=True, seed=3))
    np.testing.assert_array_equal(y, expected[1])


def test_sources_that_are_not_items():
    for source in (
        *(X, [X, Y], (X, Y), {"a": X}, "abc", range(3), collections.OrderedDict(a=X)),
        *(tf.constant(X), tf.ragged.constant([[1], [2, 3]]), tf.data.Dataset.range(3)),
        scipy.sparse.eye(3).tocsr(),
    ):
        assert not is_items(source), type(source)


class OfLength:
    def __init__(self, length):
        self.length = length

    def __len__(self):
        if isinstance(self.length, Exception):
            raise self.length
        return self.length

    def __getitem__(self, place):
        return X[0]


class Lazy(Items):
    def __getitems__(self, places):
        return (self[each] for each in places)


def test_getitems_may_return_a_generator():
    np.testing.assert_array_equal(joined(batches(Lazy(X, Y)))[0], X)


class TooFew(Items):
    def __getitems__(self, places):
        return [self[0]]


def failing(place):
    if place == 2:
        raise KeyError(f"no {place}\nat all")
    return X[place], Y[place]


REFUSED = {
    "empty": (lambda: OfLength(0), "at least one example, received a length of 0"),
    "negative": (lambda: OfLength(-1), "a length, received ValueError: __len__"),
    "endless": (lambda: OfLength(TypeError("none")), "a length, received TypeError: none"),
    "fails": (
        lambda: Items(failing),
        "an example at place 2, received KeyError: 'no 2.*at all'",
    ),
    "too few": (lambda: TooFew(X, Y), "4 examples from __getitems__, received 1"),
    "a list": (lambda: Items(lambda i: [X, Y]), r"as a tuple, received a list.*\(example 0\)"),
    "four": (lambda: Items(lambda i: (1, 2, 3, 4)), r"tuple of length 4 \(example 0\)"),
    "objects": (lambda: Items(lambda i: (X[i], None, 1)), "Python objects .example 0"),
    "dates": (
        lambda: Items(lambda i: np.datetime64(i, "D")),
        r"arrays of numbers or strings, received TypeError: .*\(example 0\)",
    ),
    "other type": (
        lambda: Items(lambda i: (X[i], 1 if i < 3 else 1.5)),
        r"examples like the first ones, \(\('float32', None\), \('int64',\)\), received "
        r".*\('float32',\)\) \(example 3\)",
    ),
    "other rank": (lambda: Items(lambda i: X[i] if i else X), r"received \('float32', 3\)"),
    "other parts": (lambda: Items(lambda i: (X[i], 1) if i else X[i]), "examples like the first"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_first_examples_that_are_not_usable(name):
    make, message = REFUSED[name]
    with pytest.raises(UserError, match=f"^source: expected .*{message}") as error:
        Pipeline(make(), 2)
    assert "\n" not in str(error.value)


LATER = {
    "fails": (lambda i: 1 // (i != 38), "an example at place 38, received ZeroDivisionError"),
    "form": (lambda i: [1] * (1 + (i == 38)), r"received \('int64', 2\) \(example 38\)"),
}


@pytest.mark.parametrize("several", [False, True])
@pytest.mark.parametrize("name", LATER)
def test_a_later_example_that_is_not_usable(name, several):
    item, message = LATER[name]
    source = Items(item, length=40)
    if several:
        source.__class__ = type("Several", (Items,), {"__getitems__": lambda s, p: [*map(s, p)]})
        source.__class__.__call__ = Items.__getitem__
    with pytest.raises(tf.errors.OpError, match=f"UserError: source: expected .*{message}"):
        batches(source, 8)


def test_what_a_pipeline_knows_about_items(recwarn):
    labels = np.repeat([3, 4, 5], 40)
    source = Items(np.zeros((120, 2)), labels)
    train = Pipeline(source, 8, shuffle_bytes=0)  # sorted by class, which does not matter
    assert train.num_examples == 120 and train.label_range() == (3, 3)
    assert train.order() == Pipeline((np.zeros((120, 2)), labels), 8).order()
    with pytest.raises(UserError, match=r"labels: expected \(x, y\) in memory"):
        train.labels()
    with pytest.raises(UserError, match="parts: expected shuffled data in memory"):
        train.set_node_shards(np.arange(120).reshape(2, 60))
    with pytest.raises(UserError, match="num_examples: expected 120 .* received 121"):
        Pipeline(source, 8, num_examples=121)
    same, other = train.fingerprint(), Pipeline(Items(np.ones((120, 2)), labels), 8).fingerprint()
    assert same == train.copy().fingerprint() and same["shuffle_buffer"] == 0
    assert other["hash"] != same["hash"] and other | {"hash": same["hash"]} == same
    assert [len(y) for _, y in train.in_order(16, 33).dataset()] == [16, 16, 1]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        train.copy(4)
    assert not [each for each in recwarn if "class" in str(each.message)]
