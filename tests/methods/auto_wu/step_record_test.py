import keras
import numpy as np
import pytest
import tensorflow as tf

from lbkeras.trainers import StepRecord


def test_rows_are_means_over_replicas(mirrored):
    record = StepRecord(mirrored, columns=2)

    @tf.function
    def run(first):
        def in_replica():
            replica = tf.distribute.get_replica_context().replica_id_in_sync_group
            for step in tf.range(3):
                record.write([tf.cast(first + step, tf.float32), tf.cast(replica, tf.float32)])

        mirrored.run(in_replica)

    run(tf.constant(0))
    run(tf.constant(3))
    np.testing.assert_array_equal(record.read(), [[i, 0.5] for i in range(6)])
    assert record.read().shape == (0, 2)
    run(tf.constant(6))
    np.testing.assert_array_equal(record.read()[:, 0], [6, 7, 8])


def test_what_a_checkpoint_holds_is_all_there_is(mirrored):
    first, second = StepRecord(mirrored, 1), StepRecord(mirrored, 1)
    mirrored.run(lambda: first.write([2.5]))
    for ours, theirs in zip(second.variables, first.variables, strict=True):
        ours.assign(keras.ops.convert_to_numpy(theirs))
    np.testing.assert_array_equal(second.read(), [[2.5]])


def test_full():
    record = StepRecord(tf.distribute.get_strategy(), columns=1, capacity=4)
    for _ in range(3):
        record.write([1.0])
    assert record.is_full(2) and not record.is_full(1)
    for _ in range(2):
        record.write([1.0])
    with pytest.raises(RuntimeError, match="5 updates since the last reading, room for 4"):
        record.read()
