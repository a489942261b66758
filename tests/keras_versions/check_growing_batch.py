"""A batch that grows and shrinks inside one `fit`, against SGD with momentum in NumPy."""

import keras
import numpy as np
import pytest

from lbkeras.callbacks import BatchSizeScheduler
from lbkeras.data import Pipeline
from lbkeras.planning import Phase, Plan
from lbkeras.schedules.curve import Curve, Segment
from tests.keras_versions.softmax_regression import by_numpy, probabilities, softmax_regression

SIZES, MOMENTA = (128, 256, 512, 64), (0.9, 0.9, 0.5, 0.8)
STEPS = (11, 5, 2, 22)  # of 1,437 digits, the remainders dropped
RATES = [0.1] * 11 + [0.1] * 5 + [0.2] * 2 + [0.05] * 22
WARM_UP = [0.01 + 0.09 * step / 11 for step in range(11)] + [0.1] * 29


def a_plan(warm_up):
    curve = Curve([Segment(0, 1, 0.01, 0.1, "linear"), Segment(1, 4, 0.1, 0.1)])
    settings = zip(SIZES, (0.1, 0.1, 0.2, 0.05), MOMENTA, strict=True)
    phases = [Phase(epoch, 1, *each) for epoch, each in enumerate(settings)]
    return Plan(phases, 1437, curve if warm_up else None)


@pytest.mark.parametrize(
    "steps_per_execution, warm_up", [(1, False), (1, True), (3, False), (4, True)]
)
def test_growing_batch(digits, steps_per_execution, warm_up):
    plan, train = a_plan(warm_up), Pipeline(digits, 128)
    test = Pipeline((digits[0][:250], digits[1][:250]), 100, shuffle=False)
    optimizer = keras.optimizers.SGD(plan.learning_rate_schedule(), momentum=0.9)
    model = softmax_regression(optimizer, steps_per_execution=steps_per_execution)
    callbacks = [BatchSizeScheduler(train, plan)]
    history = model.fit(
        train, epochs=4, validation_data=test, verbose=0, callbacks=callbacks
    ).history

    sizes = [size for size, steps in zip(SIZES, STEPS, strict=True) for _ in range(steps)]
    recorded = keras.ops.convert_to_numpy(model.layers[0].sizes)
    assert recorded[recorded > 0].tolist() == sizes
    assert int(model.optimizer.iterations) == plan.updates() == sum(STEPS) == 40
    assert history["batch_size"] == list(SIZES)
    rates = WARM_UP if warm_up else RATES
    (weights, bias), losses = by_numpy(Pipeline(digits, 128), SIZES, MOMENTA, rates)
    for ours, expected in zip(model.layers[-1].get_weights(), (weights, bias), strict=True):
        np.testing.assert_allclose(ours, expected, rtol=0, atol=1e-5)
    np.testing.assert_allclose(history["loss"], [np.mean(each) for each in losses], rtol=1e-5)

    p, _ = probabilities(digits[0][:250], weights, bias)
    accuracy = np.mean(np.argmax(p, 1) == digits[1][:250])
    assert history["val_accuracy"][-1] == pytest.approx(accuracy, abs=1e-6)
    predicted = model.predict(test, verbose=0)
    assert predicted.shape == (250, 10)
    np.testing.assert_allclose(keras.ops.softmax(predicted), p, atol=1e-5)


def test_a_callback_that_stops(digits):
    """EarlyStopping ends the run where it should, not the epoch's end in its place."""
    plan, train = a_plan(False), Pipeline(digits, 128)
    model = softmax_regression(keras.optimizers.SGD(plan.learning_rate_schedule(), momentum=0.9))
    stop = keras.callbacks.EarlyStopping("loss", min_delta=5.0, patience=1)
    model.fit(train, epochs=4, verbose=0, callbacks=[BatchSizeScheduler(train, plan), stop])
    assert int(model.optimizer.iterations) == 11 + 5
