import keras
import pytest

from lbkeras.callbacks import optimizer_settings
from lbkeras.planning import Phase, Plan


@pytest.mark.parametrize(
    "optimizer, momentum",
    [
        (lambda: keras.optimizers.SGD(0.1, 0.9), 0.9),
        (lambda: keras.optimizers.SGD(0.1), 0.0),
        (lambda: keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD(0.1, 0.8)), 0.8),
        (lambda: keras.optimizers.Adam(0.1), None),
    ],
)
def test_momentum(optimizer, momentum):
    optimizer = optimizer()
    assert optimizer_settings.get_momentum(optimizer) == momentum
    if momentum:
        optimizer_settings.set_momentum(optimizer, 0.5)
        assert optimizer_settings.get_momentum(optimizer) == 0.5


def test_last_learning_rate():
    assert optimizer_settings.last_learning_rate(keras.optimizers.Adam(0.1)) == 0.1  # not 0.1f
    plan = Plan([Phase(0, 1, 10, 0.3, 0.9), Phase(1, 1, 20, 0.7, 0.9)], 40)
    optimizer = keras.optimizers.SGD(plan.learning_rate_schedule(), 0.9)
    rates = []
    for updates in (0, 1, 4, 5):
        optimizer.iterations.assign(updates)
        rates.append(optimizer_settings.last_learning_rate(optimizer))
    assert rates == [0.3, 0.3, 0.3, 0.7]
    scaled = keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD(0.25))
    assert optimizer_settings.last_learning_rate(scaled) == 0.25


def test_trust_ratios_are_named_by_layer_or_by_variable():
    class Optimizer:
        def trust_ratios(self):
            return {"lstm/kernel": 1.0, "lstm/recurrent_kernel": 2.0, "model/head/kernel": 3.0}

    assert optimizer_settings.get_trust_ratios(Optimizer()) == {
        "lstm/kernel": 1.0,
        "lstm/recurrent_kernel": 2.0,
        "model/head": 3.0,
    }
    assert optimizer_settings.get_trust_ratios(keras.optimizers.SGD(0.1)) == {}
