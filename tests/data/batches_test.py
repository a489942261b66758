"""PyDataset and generators, which Keras reads batch by batch, as a Pipeline's data."""

import itertools

import keras
import numpy as np
import pytest
import tensorflow as tf

from lbkeras.data import Pipeline
from lbkeras.errors import UserError

N = 22


class Batches(keras.utils.PyDataset):
    """N numbered examples in batches of 4, with two inputs; the last batch has 2."""

    def __init__(self, number=6, last=2, width=3):
        super().__init__()
        self.number, self.last, self.width = number, last, width

    def __len__(self):
        return self.number

    def __getitem__(self, index):
        numbers = np.arange(4 * index, 4 * index + (self.last if index == 5 else 4))
        x = np.repeat(numbers[:, None], self.width, axis=1)
        return {"a": x, "b": x / 2}, numbers


def generator():
    yield from (Batches()[each] for each in range(6))


SOURCES = {
    "PyDataset": (Batches, None),
    "PyDataset and number": (Batches, N),
    "function": (lambda: generator, N),
    "generator": (generator, N),
    "endless, cut": (lambda: itertools.islice(itertools.cycle([Batches()[0]]), 2), 8),
}


def batches(source, number, **arguments):
    pipeline = Pipeline(source, 5, **({"num_examples": number} if number else {}), **arguments)
    return pipeline, list(pipeline.dataset().as_numpy_iterator())


@pytest.mark.parametrize("name", SOURCES)
def test_examples_are_rebatched(name):
    make, number = SOURCES[name]
    pipeline, read = batches(make(), number, shuffle=False)
    n = number or N
    assert pipeline.num_examples == n and pipeline.steps_per_epoch == -(-n // 5)
    assert [len(y) for _, y in read] == [5] * (n // 5) + [n % 5]
    numbers = np.concatenate([y for _, y in read])
    np.testing.assert_array_equal(numbers, np.arange(N) if n == N else [0, 1, 2, 3] * 2)
    x = {key: np.concatenate([x[key] for x, _ in read]) for key in "ab"}
    np.testing.assert_array_equal(x["a"], np.repeat(numbers[:, None], 3, 1))
    np.testing.assert_array_equal(x["b"], x["a"] / 2)
    assert x["b"].dtype == np.float32


@pytest.mark.parametrize("name", ["PyDataset", "function"])
def test_epochs_are_shuffled_and_resumed(name):
    make, number = SOURCES[name]
    pipeline, _ = batches(make(), number)
    orders = [[y.numpy().tolist() for _, y in pipeline.dataset(epoch)] for epoch in (0, 1)]
    assert orders[0] != orders[1]
    assert len({number for batch in orders[0] for number in batch}) == 20
    assert [y.numpy().tolist() for _, y in pipeline.dataset(0, 2)] == orders[0][2:]


def test_rows_that_each_batch_pads_for_itself_are_padded_again():
    lengths = [2, 5, 3]

    def padded():
        return ((np.full((2, n), n), np.full((2, n), 9)) for n in lengths)

    pipeline = Pipeline(padded, 4, shuffle=False, num_examples=6)
    read = [x.tolist() for x, _ in pipeline.dataset().as_numpy_iterator()]
    assert read == [[[2, 2, 0, 0, 0]] * 2 + [[5] * 5] * 2, [[3] * 3] * 2]


def test_keras_trains_on_it_as_on_arrays():
    x, y = np.concatenate([Batches()[i][0]["b"] for i in range(6)]), np.arange(float(N))
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
    model.compile("sgd", "mse")

    class Plain(Batches):
        def __getitem__(self, index):
            inputs, numbers = super().__getitem__(index)
            return inputs["b"], numbers.astype("float32")

    expected = model.evaluate(x, y, batch_size=5, verbose=0)
    data = Pipeline(Plain(), 5, shuffle=False)
    assert model.evaluate(data, verbose=0) == pytest.approx(expected, rel=1e-6)


def test_a_warning_says_that_on_epoch_end_is_not_called():
    class Own(Batches):
        def on_epoch_end(self):
            raise AssertionError

    with pytest.warns(UserWarning, match="on_epoch_end of the PyDataset is not called"):
        Pipeline(Own(), 5)


class Endless(Batches):
    num_batches = None


@pytest.mark.parametrize(
    "source, number, message",
    [
        (generator, None, "num_examples: expected how many .* received None"),
        (generator(), 21, "num_examples: expected .* the source, at least 22, received 21"),
        (generator(), 23, "num_examples: expected .* the source, 22, received 23"),
        (Endless(), None, "source: expected a PyDataset of .* received an endless one"),
        (Batches(last=3), N, "num_examples: expected .*, at least 23, received 22"),
        (Batches(0), None, "source: expected a PyDataset of .* received 0 batches"),
        (lambda once: None, 3, "source: expected a function without arguments"),
        (lambda: None, 3, "source: expected a function without arguments"),
        (lambda: iter([(np.zeros((2, 3)), np.zeros(3))]), 3, "source: .*batch 0 of the source"),
        (lambda: iter([(np.zeros(3), 1)]), 3, r"received a scalar \(batch 0 of the source\)"),
    ],
)
def test_refusals(source, number, message):
    with pytest.raises(UserError, match=message) as error:
        Pipeline(source, 2, num_examples=number)
    assert "\n" not in str(error.value)


def long():
    return ((np.zeros((4, 3 + (i == 11))), np.zeros(4)) for i in range(12))


@pytest.mark.parametrize(
    "source, number, message",
    [
        (lambda: itertools.islice(long(), 11), 43, "expected .*, at least 44, received 43"),
        (lambda: itertools.islice(long(), 11), 45, "expected .*, 44, received 45"),
        (long, 48, r"expected batches like the first .*batch 11\)"),
    ],
)
@pytest.mark.parametrize("shuffle", [False, True])
def test_errors_that_are_found_while_reading(source, number, message, shuffle):
    pipeline = Pipeline(source, 2, num_examples=number, shuffle=shuffle)
    with pytest.raises(tf.errors.OpError, match=f"UserError: .*{message}"):
        list(pipeline.dataset())
