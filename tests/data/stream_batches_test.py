"""Batches of a stream: rows of variable length, and a wrong number of examples."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from lbkeras.data import Pipeline
from lbkeras.errors import UserError
from tests.data.examples import batches, rows


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


def asserted(number, said):
    return rows(number).apply(tf.data.experimental.assert_cardinality(said))


@pytest.mark.parametrize("shuffle", [False, True])
@pytest.mark.parametrize("number, batch_size", [(30, 8), (79, 8), (81, 8), (81, 7), (81, 80)])
def test_a_wrong_cardinality_is_found(number, batch_size, shuffle):
    """Within the first 32 examples when the Pipeline is made, otherwise before the last batch."""
    for stream in (asserted(number, 80), rows(number).filter(lambda x: x >= 0)):
        known = {} if stream.cardinality() == 80 else dict(num_examples=80)
        read = 0
        with pytest.raises((UserError, tf.errors.OpError), match="expected (to contain )?80 e"):
            for _ in Pipeline(stream, batch_size, shuffle=shuffle, **known).dataset():
                read += 1
        assert read < 80 / batch_size


@pytest.mark.parametrize("start", [0, 3])
@pytest.mark.parametrize("number", [40, 37])
def test_a_correct_cardinality_changes_nothing(number, start):
    read = Pipeline(asserted(number, number), 8, shuffle=False).dataset(0, start)
    assert [x for each in read for x in each.numpy()] == list(range(8 * start, number))


def test_an_evaluation_of_a_longer_stream_is_an_error():
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    stream = rows(50).map(lambda x: (tf.cast([x], tf.float32), x))
    data = Pipeline(stream.apply(tf.data.experimental.assert_cardinality(40)), 8, shuffle=False)
    with pytest.raises(tf.errors.OpError, match="expected to contain 40 elements but"):
        model.evaluate(data, verbose=0)
