"""Two devices against one on JAX, with steps in stacks and sizes that are compiled ahead."""

import keras
import numpy as np
import pytest

from lbkeras.callbacks import BatchSizeScheduler
from lbkeras.data import Pipeline
from lbkeras.keras_internals.data_adapter import takes_stacks
from lbkeras.planning import Phase, Plan
from lbkeras.runs.steps_per_execution import choose_steps_per_execution
from tests.jax_compilations import Compilations

pytestmark = pytest.mark.skipif(
    keras.backend.backend() != "jax", reason="tf.distribute is tried in check_replicas.py"
)
PLAN = Plan([Phase(0, 2, 12, 0.05, 0.9), Phase(2, 2, 48, 0.05, 0.9)], 96)


def fitted(devices: int, steps_per_execution: int):
    """Returns weights and history, and the epochs of compilations."""
    if devices > 1:
        names = [f"cpu:{number}" for number in range(devices)]
        keras.distribution.set_distribution(keras.distribution.DataParallel(devices=names))
    generator = np.random.default_rng(0)
    x, y = generator.normal(size=(96, 6)).astype("float32"), generator.integers(0, 3, 96)
    keras.utils.set_random_seed(1)
    model = keras.Sequential(
        [
            keras.Input((6,)),
            keras.layers.Dense(8),
            keras.layers.BatchNormalization(),
            keras.layers.Dense(3),
        ]
    )
    model.compile(
        keras.optimizers.SGD(PLAN.learning_rate_schedule(), 0.9),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
        steps_per_execution=steps_per_execution,
    )
    train = Pipeline((x, y), 12)
    test = Pipeline((x[:33], y[:33]), 16, shuffle=False)  # one example is left over
    try:
        with Compilations() as compilations:
            history = model.fit(
                train,
                epochs=4,
                validation_data=test,
                verbose=0,
                callbacks=[BatchSizeScheduler(train, PLAN), compilations],
            ).history
        assert model.predict(test, verbose=0).shape == (33, 3)
    finally:
        keras.distribution.set_distribution(None)
    assert int(model.optimizer.iterations) == PLAN.updates() == 20
    numbers = [number for values in history.values() for number in values]
    return [*model.get_weights(), np.array(numbers)], compilations.epochs


@pytest.mark.parametrize("devices, steps_per_execution", [(1, 3), (2, 1), (2, 3)])
def test_devices(devices, steps_per_execution):
    ours, epochs = fitted(devices, steps_per_execution)
    for mine, other in zip(ours, fitted(1, 1)[0], strict=True):
        np.testing.assert_allclose(mine, other, rtol=1e-5, atol=1e-5)
    stacks = {"multi_step_scan"} if steps_per_execution > 1 and takes_stacks() else set()
    assert set(epochs) == {"train_step"} | stacks
    for each in epochs.values():  # both sizes while the first is trained
        assert len(each) == 2 and max(each) < 2, epochs


def test_no_loop_over_convolutions_is_chosen():
    """XLA computes their gradients badly inside a loop on a CPU."""
    images = keras.Sequential(
        [keras.Input((8, 8, 3)), keras.layers.Conv2D(4, 3), keras.layers.Flatten()]
    )
    vectors = keras.Sequential([keras.Input((6,)), keras.layers.Dense(3)])
    assert (choose_steps_per_execution(images, PLAN) == 1) == takes_stacks()
    assert choose_steps_per_execution(vectors, PLAN) == 8
