import numpy as np
import pytest
import tensorflow as tf

from lbkeras.errors import UserError
from lbkeras.methods.micro_batches import losses, pieces


def test_rows_of_tensors_of_unknown_shape():
    x = np.arange(24.0).reshape(6, 4)

    @tf.function(input_signature=[tf.TensorSpec((6, None))])
    def rows(data):
        return pieces.rows_of((data, None), 2, 3)[0]

    np.testing.assert_array_equal(rows(x), x[2:5])


def test_repeated_rows_in_a_gradient_add_up():
    values = tf.constant([[1.0], [2.0], [4.0]], tf.float16)
    gradient = tf.IndexedSlices(values, tf.constant([0, 2, 0]), tf.constant([3, 1]))
    total = pieces.add_gradient(tf.ones((3, 1), pieces.accumulator_dtype(tf.float16)), gradient)
    assert total.dtype == tf.float32
    np.testing.assert_array_equal(total, [[6.0], [1.0], [3.0]])


def test_a_loss_that_is_not_a_mean_over_the_batch_is_an_error():
    assert float(losses.share_of_additional_loss(tf.constant(8.0), 1, 4)) == 2.0
    with pytest.raises(UserError, match="^add_loss: expected scalars, .* of shape \\(2,\\)$"):
        losses.share_of_additional_loss(tf.ones(2), 1, 4)
