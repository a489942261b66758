import keras
import numpy as np
import tensorflow as tf

from lbkeras.errors import UserError
from lbkeras.keras_internals.data_adapter import DataAdapter, super_batches


class Three(DataAdapter):
    """Three batches of two ones, with a new iterator per epoch."""

    begun = 0

    def get_tf_dataset(self):
        batch = np.ones((2, 1), "float32")
        return tf.data.Dataset.from_tensors((batch, batch)).repeat(3)

    def get_jax_iterator(self, *arguments, **keywords):
        return iter([(np.ones((2, 1), "float32"),) * 2] * 3)

    def on_epoch_begin(self):
        self.begun += 1

    num_batches = 3
    batch_size = 2
    has_partial_batch = False
    partial_batch_size = None


def test_keras_accepts_an_adapter_and_restarts_it_each_epoch():
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    data = Three()
    model.fit(data, epochs=4, verbose=0)
    assert (int(model.optimizer.iterations), data.begun) == (12, 4)


def test_stacks_of_batches():
    """Only Keras 3.16 and later ask for them."""
    batches = [(np.full((2, 1), i),) for i in range(5)]
    try:
        stacks = list(super_batches(iter(batches), 2))
    except UserError as error:
        assert "super_batch_iterator" in str(error)
        return
    stacked = [stack for stack in stacks if np.shape(stack[0]) == (2, 2, 1)]
    np.testing.assert_array_equal(stacked[1][0][:, 0, 0], [2, 3])
    assert len(stacks) == 3
