import importlib.util
import os
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf

from lbkeras.errors import UserError
from lbkeras.planning import (
    Phase,
    Plan,
    cosine_plan,
    linear_plan,
    noise_scale_plan,
    polynomial_plan,
    warmup_steps_plan,
)
from lbkeras.schedules import Curve, EpochLearningRateSchedule, Segment, steps, warm_up


def _phases(*sizes):
    """Returns a phase of 7 epochs for each batch size."""
    return [Phase(7 * i, 7, size, 0.1, 0.9) for i, size in enumerate(sizes)]


ALL_SHAPES = Curve(
    (
        Segment(0, 2.35, 1e-5, 0.3, "exponential"),
        Segment(2.35, 5, 0.3, 0.3),
        Segment(5, 8.2, 0.3, 0.02, "polynomial", 2.0),
        Segment(8.2, 8.21, 0.5, 0.5),
        Segment(8.21, 14 + 5 / 3, 0.0, 0.4, "polynomial", 3.0),
        Segment(14 + 5 / 3, 21, 0.4, 0.0, "cosine"),
    )
)

PLANS = {
    "smith": noise_scale_plan(
        strategy="increase_batch", epochs=200, boundaries=(60, 120, 160), factor=5,
        learning_rate=0.1, momentum=0.9, batch_size=128, num_examples=50_000,
        max_batch_size=5120),
    "hybrid": noise_scale_plan(
        strategy="hybrid", epochs=9, boundaries=(3, 6), factor=(5, 3), learning_rate=0.1,
        momentum=0.9, batch_size=32, num_examples=1437, max_batch_size=143),
    "goyal": warmup_steps_plan(
        epochs=90, boundaries=(30, 60, 80), factor=10, base_learning_rate=0.1,
        base_batch_size=256, batch_size=8192, momentum=0.9, num_examples=1_281_167,
        warmup_epochs=5),
    "legw": polynomial_plan(
        epochs=9, batch_size=32, learning_rate=2**2.5, momentum=0.9, num_examples=1437,
        warmup_epochs=0.3125),
    "cosine": cosine_plan(
        epochs=12, batch_size=7, learning_rate=0.5, momentum=0.9, num_examples=1437,
        final_learning_rate=1e-4, warmup_epochs=2),
    "linear": linear_plan(
        epochs=11, batch_size=10, learning_rate=0.5, momentum=0.0, num_examples=1437,
        warmup_epochs=10 / 3, warmup_initial=1e-3),
    "all shapes": Plan(_phases(10, 33, 97), 1437, ALL_SHAPES),
    "fractional jump": Plan(_phases(300, 100, 700), 1437, steps([1, 2, 3], [5 / 3, 9.1], 21)),
    "shorter than an update": Plan(_phases(1437, 700, 300), 1437, ALL_SHAPES),
}  # fmt: skip


def _planned(plan: Plan) -> np.ndarray:
    """Returns the plan's learning rate at every update."""
    return np.array(
        [
            plan.learning_rate(epoch + step / plan.steps_per_epoch(epoch))
            for epoch in range(plan.epochs)
            for step in range(plan.steps_per_epoch(epoch))
        ]
    )


@pytest.mark.parametrize("jit_compile", [False, pytest.param(True, marks=pytest.mark.slow)])
@pytest.mark.parametrize("name", PLANS)
def test_every_update_has_the_plans_learning_rate(name, jit_compile):
    plan = PLANS[name]
    schedule, updates = plan.learning_rate_schedule(), plan.updates()
    expected = _planned(plan)
    assert len(expected) == updates

    @tf.function(jit_compile=jit_compile)
    def every_update():  # a while_loop
        return tf.map_fn(schedule, tf.range(updates, dtype="int64"), fn_output_signature="float32")

    np.testing.assert_allclose(every_update().numpy(), expected, rtol=1e-6)
    for step in (0, updates // 2, updates - 1):
        value = schedule(step)
        assert value.shape == () and keras.backend.standardize_dtype(value.dtype) == "float32"
        np.testing.assert_allclose(float(value), expected[step], rtol=1e-6)
    for step in (updates, updates + 10**6):
        assert float(schedule(step)) == pytest.approx(plan.learning_rate(plan.epochs), rel=1e-6)


@pytest.mark.parametrize("dtype", ["int32", "int64", "float32"])
def test_step_types(dtype):
    schedule = PLANS["hybrid"].learning_rate_schedule()
    assert float(schedule(tf.constant(200, dtype))) == pytest.approx(0.1 / 15 * 143 / 32)
    assert float(schedule(keras.Variable(0, dtype=dtype))) == pytest.approx(0.1)


def test_updates_that_float32_cannot_count():
    first = 2**24 + 1
    schedule = EpochLearningRateSchedule(
        Curve((Segment(0, 1, 1, 1), Segment(1, 3, 2, 0, "linear"))), [(0, 0, first)]
    )
    assert [float(schedule(step)) for step in (first - 1, first)] == pytest.approx(
        [1.0, 2.0], rel=1e-6
    )
    last = 3 * first - 1
    assert float(schedule(last)) == pytest.approx(1 / first, rel=1e-6)


def test_constant_segments_are_exact():
    schedule = EpochLearningRateSchedule(warm_up(steps([3, 0.3], [2], 4), 1, 1), [(0, 0, 10)])
    for step, value in ((10, 3), (19, 3), (20, 0.3), (39, 0.3)):
        assert float(schedule(step)) == np.float32(value)


def test_constant_curves_cost_a_lookup():
    def num_operations(plan):
        schedule = plan.learning_rate_schedule()
        function = tf.function(schedule).get_concrete_function(tf.TensorSpec((), "int64"))
        return sum(op.type not in ("Const", "NoOp") for op in function.graph.get_operations())

    assert num_operations(PLANS["smith"]) <= 12
    assert num_operations(PLANS["goyal"]) <= 40


def test_config_round_trip():
    plan = PLANS["all shapes"]
    schedule = plan.learning_rate_schedule()
    serialized = keras.optimizers.schedules.serialize(schedule)
    assert serialized["registered_name"] == "lbkeras>EpochLearningRateSchedule"
    restored = keras.optimizers.schedules.deserialize(serialized)
    assert isinstance(restored, EpochLearningRateSchedule)
    assert restored.get_config() == schedule.get_config()
    assert restored.curve == plan.curve and restored.phases == schedule.phases
    optimizer = keras.optimizers.SGD.from_config(keras.optimizers.SGD(schedule).get_config())
    assert float(optimizer.learning_rate) == pytest.approx(1e-5)


def test_saved_model_keeps_the_schedule(tmp_path):
    model = _one_weight_model(PLANS["hybrid"].learning_rate_schedule())
    model.save(tmp_path / "model.keras")
    restored = keras.saving.load_model(tmp_path / "model.keras", compile=False)
    assert restored.count_params() == 1
    restored = keras.saving.load_model(
        tmp_path / "model.keras", custom_objects={"_mean_output": _mean_output}
    )
    assert float(restored.optimizer.learning_rate) == pytest.approx(0.1)


def _mean_output(y, output):
    return keras.ops.mean(output, axis=-1)


def _one_weight_model(schedule, **compile_arguments):
    """A model whose loss is its weight, so each SGD update subtracts the learning rate."""
    model = keras.Sequential(
        [keras.Input((1,)), keras.layers.Dense(1, use_bias=False, kernel_initializer="zeros")]
    )
    model.compile(keras.optimizers.SGD(schedule), _mean_output, **compile_arguments)
    return model


@pytest.mark.parametrize(
    ("steps_per_execution", "jit_compile"), [(1, False), (3, False), (3, True)]
)
def test_fit_uses_the_plans_learning_rates(steps_per_execution, jit_compile):
    phases = [Phase(0, 2, 2, 1, 0), Phase(2, 3, 5, 1, 0), Phase(5, 1, 3, 1, 0)]
    curve = warm_up(steps([0.8, 0.2, 0.1], [2, 4], 6), 1.5, 0.01)
    plan = Plan(phases, 20, curve)
    model = _one_weight_model(
        plan.learning_rate_schedule(),
        steps_per_execution=steps_per_execution,
        jit_compile=jit_compile,
    )
    weights = {0: 0.0}

    def record(batch, logs):
        weight = model.layers[-1].kernel.numpy().item()
        weights[int(model.optimizer.iterations.numpy())] = weight

    callback = keras.callbacks.LambdaCallback(on_train_batch_end=record)
    ones = np.ones((20, 1), "float32")
    for phase in plan.phases:
        data = tf.data.Dataset.from_tensor_slices((ones, ones))
        data = data.batch(phase.batch_size, drop_remainder=True)
        model.fit(
            data,
            initial_epoch=phase.first_epoch,
            epochs=phase.first_epoch + phase.epochs,
            callbacks=[callback],
            verbose=0,
        )
    assert max(weights) == plan.updates() == 20 + 12 + 6
    assert len(weights) > plan.updates() / 3
    moved = np.concatenate([[0], np.cumsum(_planned(plan))])
    for update, weight in weights.items():
        np.testing.assert_allclose(-weight, moved[update], rtol=2e-6, err_msg=str(update))


@pytest.mark.parametrize(
    ("phases", "message"),
    [
        ([], "phases: expected at least one, received none"),
        (
            [(0, 0)],
            "phases[0]: expected (first_update, first_epoch, steps_per_epoch), received (0, 0)",
        ),
        (
            [(1, 0, 10)],
            "phases[0]: first_update: expected a whole number of at least 0 and at most 0, "
            "received 1",
        ),
        (
            [(0, 0, 10), (0, 1, 10)],
            "phases[1]: first_update: expected a whole number of at least 1, received 0",
        ),
        (
            [(0, 0, 10), (10, 0, 10)],
            "phases[1]: first_epoch: expected a whole number of at least 1, received 0",
        ),
        (
            [(0, 0, 0)],
            "phases[0]: steps_per_epoch: expected a whole number of at least 1, received 0",
        ),
    ],
)
def test_message(phases, message):
    with pytest.raises(UserError) as error:
        EpochLearningRateSchedule(steps([0.1], [], 1), phases)
    assert str(error.value) == message


@pytest.mark.skipif(importlib.util.find_spec("jax") is None, reason="needs JAX")
@pytest.mark.release  # the gate has tests/callbacks/batch_size_scheduler_test.py on JAX
def test_jax_backend():
    code = """
import jax, numpy as np
from lbkeras.planning import Phase, Plan, warmup_steps_plan
plan = warmup_steps_plan(epochs=9, boundaries=(3, 6), factor=10, base_learning_rate=0.1,
    base_batch_size=8, batch_size=32, momentum=0.9, num_examples=320, warmup_epochs=1.5)
schedule = plan.learning_rate_schedule()
got = jax.jit(jax.vmap(schedule))(jax.numpy.arange(plan.updates()))
want = [plan.learning_rate(update / 10) for update in range(plan.updates())]
np.testing.assert_allclose(np.asarray(got), want, rtol=1e-6)
"""
    environment = {**os.environ, "KERAS_BACKEND": "jax"}
    subprocess.run([sys.executable, "-W", "error::UserWarning", "-c", code], env=environment,
                   check=True, timeout=120)  # fmt: skip
