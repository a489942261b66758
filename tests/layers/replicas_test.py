import numpy as np

from lbkeras.keras_internals.replica_context import replica_context
from lbkeras.layers.replicas import sum_over_replicas


def test_one_device_has_no_context():
    assert replica_context() is None


def test_no_context_outside_of_the_replicas(mirrored):
    with mirrored.scope():
        assert replica_context() is None


def test_sums_of_several_tensors_and_their_gradients(mirrored):
    import tensorflow as tf

    @tf.function(autograph=False)
    def step():
        def one_replica():
            context = replica_context()
            number = tf.cast(context.replica_id_in_sync_group, "float32") + 1.0
            x, y = number * tf.constant([[1.0, 2.0]]), number * tf.constant(10.0)
            with tf.GradientTape() as tape:
                tape.watch(x)
                sums = sum_over_replicas(context, x, y)
                loss = tf.reduce_sum(sums[0] * number) + sums[1]
            return *sums, tape.gradient(loss, x)

        return mirrored.run(one_replica)

    x, y, gradient = (mirrored.experimental_local_results(part) for part in step())
    for replica in range(2):
        np.testing.assert_array_equal(x[replica], [[3.0, 6.0]])
        assert y[replica] == 30
        # The losses of all replicas count: 1 from the first and 2 from the second.
        np.testing.assert_array_equal(gradient[replica], [[3.0, 3.0]])
