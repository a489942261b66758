"""Plans followed by `BatchSizeScheduler`: batch size, learning rate and momentum.

The weights are compared with SGD written out in NumPy.
"""

import keras
import numpy as np
import pytest

from lbkeras.callbacks import BatchSizeScheduler, Checkpoint, TrainingStatistics
from lbkeras.data import Pipeline
from lbkeras.errors import UserError
from lbkeras.keras_internals.optimizer import learning_rate_of
from lbkeras.optimizers import LAMB, LARS
from lbkeras.planning import Phase, Plan, noise_scale_plan


def fit(model, train, plan, *callbacks, epochs):
    callbacks = [BatchSizeScheduler(train, plan), *callbacks]
    return model.fit(train, epochs=epochs, callbacks=callbacks, verbose=0)


def linear_data(count=120):
    generator = np.random.default_rng(0)
    x = generator.normal(size=(count, 4)).astype(np.float32)
    y = x @ generator.normal(size=(4, 1)).astype(np.float32)
    return x, (y + generator.normal(scale=0.3, size=y.shape)).astype(np.float32)


def linear_model(optimizer, **arguments):
    model = keras.Sequential(
        [keras.Input((4,)), keras.layers.Dense(1, use_bias=False, kernel_initializer="zeros")]
    )
    model.compile(optimizer=optimizer, loss="mse", **arguments)
    return model


def sgd_in_numpy(data, plan, seed=0, nesterov=False):
    """v <- m v - rate g; w <- w + v, or with Nesterov w <- w + m v - rate g."""
    weights = np.zeros((4, 1))
    velocity = np.zeros_like(weights)
    for epoch in range(plan.epochs):
        momentum, steps = plan.momentum(epoch), plan.steps_per_epoch(epoch)
        batches = Pipeline(data, plan.batch_size(epoch), seed=seed).dataset(epoch)
        for step, (x, y) in enumerate(batches):
            x, y = x.numpy().astype(np.float64), y.numpy()
            gradient = 2 / len(x) * x.T @ (x @ weights - y)
            rate = plan.learning_rate(epoch + step / steps)
            velocity = momentum * velocity - rate * gradient
            weights = weights + (momentum * velocity - rate * gradient if nesterov else velocity)
    return weights


def momentum_plan(num_examples=120):
    phases = [
        Phase(0, 1, 20, 0.02, 0.5),
        Phase(1, 2, 40, 0.02, 0.95),
        Phase(3, 1, 60, 0.05, 0.1),
        Phase(4, 1, 20, 0.01, 0.9),
    ]
    return Plan(phases, num_examples)


@pytest.mark.parametrize("nesterov", [False, True])
@pytest.mark.parametrize("steps_per_execution", [1, 4])
def test_plan_with_changing_momentum(nesterov, steps_per_execution):
    data, plan = linear_data(), momentum_plan()
    optimizer = keras.optimizers.SGD(plan.learning_rate_schedule(), 0.5, nesterov=nesterov)
    model = linear_model(optimizer, steps_per_execution=steps_per_execution)
    train = Pipeline(data, 20, seed=3)
    fit(model, train, plan, epochs=5)
    expected = sgd_in_numpy(data, plan, seed=3, nesterov=nesterov)
    np.testing.assert_allclose(model.get_weights()[0], expected, rtol=1e-5, atol=1e-6)
    assert optimizer.iterations == plan.updates() == 6 + 6 + 2 + 6


@pytest.mark.release  # the gate: the first fit, and test_initial_epoch_and_a_second_fit
def test_a_second_fit_of_a_plan_with_changing_momentum():
    data, plan = linear_data(), momentum_plan()
    optimizer = keras.optimizers.SGD(plan.learning_rate_schedule(), 0.5)
    model, train = linear_model(optimizer), Pipeline(data, 20)
    fit(model, train, plan, epochs=5)
    for variable in (*model.variables, *optimizer.variables):
        if variable is not optimizer.learning_rate:
            variable.assign(np.zeros(variable.shape))
    fit(model, train, plan, epochs=5)
    np.testing.assert_allclose(
        model.get_weights()[0], sgd_in_numpy(data, plan), rtol=1e-5, atol=1e-6
    )


@pytest.mark.parametrize(
    "make, momentum",
    [
        (keras.optimizers.SGD, 0.9),
        pytest.param(keras.optimizers.RMSprop, 0.9, marks=pytest.mark.slow),
        pytest.param(LARS, 0.9, marks=pytest.mark.slow),
        (keras.optimizers.Adam, None),
        pytest.param(keras.optimizers.AdamW, None, marks=pytest.mark.slow),
        pytest.param(keras.optimizers.Lion, None, marks=pytest.mark.slow),
    ],
)
def test_the_history_has_the_plans_momentum_and_noise_scale(make, momentum):
    plan = Plan([Phase(0, 1, 20, 1e-3, momentum or 0)], 120)
    given = {} if momentum is None else {"momentum": momentum}
    model = linear_model(make(learning_rate=plan.learning_rate_schedule(), **given))
    train = Pipeline(linear_data(), 20)
    history = fit(model, train, plan, TrainingStatistics(train), epochs=1).history
    rows = plan.to_dict()["phases"]
    assert history["momentum"] == [row["momentum"] for row in rows]
    assert history["noise_scale"] == pytest.approx([row["noise_scale"] for row in rows])


@pytest.mark.parametrize("make", [keras.optimizers.Adam, keras.optimizers.Lion, LAMB])
def test_a_plans_momentum_for_an_optimizer_without_one_is_refused(make):
    plan = Plan([Phase(0, 1, 20, 1e-3, 0), Phase(1, 1, 60, 1e-3, 0.9)], 120)
    wrapped = keras.optimizers.LossScaleOptimizer(make(plan.learning_rate_schedule()))
    for optimizer in (make(plan.learning_rate_schedule()), wrapped):
        with pytest.raises(UserError) as raised:
            fit(linear_model(optimizer), Pipeline(linear_data(), 20), plan, epochs=2)
        assert str(raised.value) == (
            f"momentum: expected 0, as {make.__name__} has no momentum coefficient, received 0.9"
        )
        assert optimizer.iterations == 0


def test_learning_rate_across_a_change_of_the_batch_size():
    """increase_batch with a maximum, so that the learning rate falls as well."""
    plan = noise_scale_plan(
        strategy="increase_batch", epochs=6, boundaries=(2, 4), factor=4, learning_rate=0.05,
        momentum=0.9, batch_size=10, max_batch_size=60, num_examples=120,
    )  # fmt: skip
    assert [p.batch_size for p in plan.phases] == [10, 40, 60]
    assert plan.phases[2].learning_rate < plan.phases[1].learning_rate == 0.05
    data = linear_data()
    model = linear_model(keras.optimizers.SGD(plan.learning_rate_schedule(), 0.9))
    fit(model, Pipeline(data, 10), plan, epochs=6)
    np.testing.assert_allclose(
        model.get_weights()[0], sgd_in_numpy(data, plan), rtol=1e-5, atol=1e-6
    )


@pytest.mark.parametrize("kill", [None, 13])
def test_updates_that_loss_scaling_skips(tmp_path, kill):
    """Batch size and learning rate change at the same epoch, also after a kill inside it."""
    plan = Plan([Phase(0, 2, 20, 0.01, 0.9), Phase(2, 2, 40, 0.001, 0.9)], 120)
    rates = []

    class Rates(keras.callbacks.Callback):
        def on_train_batch_begin(self, batch, logs=None):
            step = len(rates)
            if step == kill and Rates.alive:
                Rates.alive = False
                raise KeyboardInterrupt
            rates.append(round(float(self.model.optimizer.learning_rate), 6))

    Rates.alive = True

    def run():
        optimizer = keras.optimizers.LossScaleOptimizer(
            keras.optimizers.SGD(plan.learning_rate_schedule(), 0.9), initial_scale=2.0**126
        )
        x, y = linear_data()
        model, train = linear_model(optimizer), Pipeline((x, 100 * y), 20)
        others = [BatchSizeScheduler(train, plan), Rates()]
        checkpoint = Checkpoint(tmp_path, train, others, minutes=0)
        first = checkpoint.restore(model)
        callbacks = [*others, checkpoint]
        model.fit(train, epochs=4, initial_epoch=first, verbose=0, callbacks=callbacks)
        return model

    try:
        model = run()
    except KeyboardInterrupt:
        model = run()
    assert model.optimizer.inner_optimizer.iterations < 12 + 6  # some were skipped
    assert rates == [0.01] * 12 + [0.001] * 6
    rate = learning_rate_of(model.optimizer.inner_optimizer)
    assert type(rate).__name__ == "EpochLearningRateSchedule"


# Errors that the user can fix.


@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_plan_whose_momentum_changes_from_zero(momentum):
    plan = Plan([Phase(0, 1, 20, 0.1, 0.0), Phase(1, 1, 20, 0.1, 0.9)], 120)
    model = linear_model(keras.optimizers.SGD(plan.learning_rate_schedule(), momentum))
    with pytest.raises(UserError, match="momentum: expected .* above 0 .* received 0.0, 0.9"):
        fit(model, Pipeline(linear_data(), 20), plan, epochs=2)


@pytest.mark.parametrize(
    ("second", "rate", "received"),
    [
        (0.2, 0.1, "a constant 0.1"),
        (0.1, 0.3, "a constant 0.3"),
        (0.1, keras.optimizers.schedules.CosineDecay(0.1, 10), "a CosineDecay"),
    ],
)
def test_a_plan_with_another_learning_rate(second, rate, received):
    plan = Plan([Phase(0, 1, 20, 0.1, 0.9), Phase(1, 1, 20, second, 0.9)], 120)
    model = linear_model(keras.optimizers.SGD(rate, 0.9))
    with pytest.raises(UserError) as error:
        fit(model, Pipeline(linear_data(), 20), plan, epochs=2)
    assert str(error.value) == (
        "learning_rate: the plan and the optimizer cannot both set it; expected an optimizer with "
        "learning_rate=plan.learning_rate_schedule() (or, for its batch sizes alone, "
        "BatchSizeScheduler(pipeline, lambda epoch, size: plan.batch_size(epoch))), received "
        + received
    )
    assert model.optimizer.iterations == 0


def test_a_plan_with_its_own_learning_rate():
    plan = Plan([Phase(0, 1, 20, 0.1, 0.9), Phase(1, 1, 40, 0.1, 0.9)], 120)
    for rate in (0.1, plan.learning_rate_schedule()):
        model = linear_model(keras.optimizers.SGD(rate, 0.9))
        fit(model, Pipeline(linear_data(), 20), plan, epochs=2)
        assert model.optimizer.iterations == 6 + 3
