"""The steered learning rate equals the curve at each update, whatever curve was set before."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from lbkeras.errors import UserError
from lbkeras.schedules import Curve, Segment, SteeredLearningRate, steps

CURVE = Curve(
    [
        Segment(0, 2.5, 1e-5, 1.0, "exponential"),
        Segment(2.5, 4, 0.3, 0.3),
        Segment(4, 8, 0.3, 0.0, "cosine"),
    ]
)


def test_it_follows_the_curve_across_batch_sizes_without_retracing():
    steered = SteeredLearningRate()
    rate = tf.function(steered)
    update = 0
    for epoch, steps_per_epoch in enumerate((8, 8, 8, 4, 4, 4, 2, 2)):
        steered.set_curve(CURVE, update, epoch, steps_per_epoch)
        received = [float(rate(tf.constant(update + i, tf.int64))) for i in range(steps_per_epoch)]
        expected = [CURVE(epoch + i / steps_per_epoch) for i in range(steps_per_epoch)]
        np.testing.assert_allclose(received, expected, rtol=2e-6)
        update += steps_per_epoch
    assert rate.experimental_get_tracing_count() == 1


def test_a_curve_may_change_between_epochs():
    steered = SteeredLearningRate()
    steered.set_curve(CURVE, 0, 0, 10)
    steered.set_curve(
        Curve([Segment(0, 3, 0.2, 0.2), Segment(3, 8, 0.2, 0, "cosine")]), 33, 3.3, 10
    )
    expected = 0.2 * (1 + np.cos(np.pi * 0.9 / 5)) / 2  # 6 of 10 steps after epoch 3.3
    assert float(steered(39)) == pytest.approx(expected, rel=1e-6)


def test_it_is_zero_before_set_curve_and_survives_serialization():
    steered = SteeredLearningRate()
    assert float(steered(0)) == 0
    steered.set_curve(CURVE, 30, 5, 6)
    copy = keras.optimizers.schedules.deserialize(keras.optimizers.schedules.serialize(steered))
    assert [float(copy(i)) for i in (30, 33, 40)] == [float(steered(i)) for i in (30, 33, 40)]


def test_too_many_segments_in_one_epoch():
    steered = SteeredLearningRate()
    curve = steps(np.linspace(1, 2, 21), np.linspace(0, 1, 21, endpoint=False)[1:].tolist(), 2)
    with pytest.raises(UserError) as raised:
        steered.set_curve(curve, 0, 0, 100)
    assert str(raised.value) == (
        "curve: expected at most 16 segments per epoch, received more in epoch 0"
    )
    steered.set_curve(curve, 100, 1, 100)
    assert float(steered(150)) == 2
