import keras
import pytest

from lbkeras.errors import UserError
from lbkeras.schedules import AdaScaleLearningRate


def test_follows_the_base_at_the_gains_pace():
    base = keras.optimizers.schedules.PiecewiseConstantDecay([4, 7], [1.0, 0.1, 0.01])
    rate = AdaScaleLearningRate(base)
    progress, gains = 0.0, [1.0, 2.5, 2.0, 1.75, 3.0, 1.0]
    for step, gain in enumerate(gains):
        expected = gain * (1.0 if int(progress) <= 4 else 0.1 if int(progress) <= 7 else 0.01)
        assert float(rate(step)) == pytest.approx(expected)
        rate.advance(step, gains[step + 1] if step + 1 < len(gains) else 9.0)
        assert float(rate(step)) == pytest.approx(expected)  # still the last update's
        progress += gain
        assert rate.progress == pytest.approx(progress)
    assert rate.gain == 9


def test_round_trip():
    rate = AdaScaleLearningRate(keras.optimizers.schedules.CosineDecay(0.4, 100), owner="AdaScale")
    rate.advance(0, 3.0)
    other = keras.optimizers.schedules.deserialize(keras.optimizers.schedules.serialize(rate))
    assert float(other(1)) == float(rate(1)) and other.progress == 1 and other.owner == "AdaScale"


def test_message():
    with pytest.raises(UserError, match="base: expected a finite number of at least 0, received"):
        AdaScaleLearningRate(-0.1)
