"""Micro-batches in `fit`, and steps that run out of memory."""

import contextlib
import functools
import json

import keras
import numpy as np
import pytest
import tensorflow as tf

from lbkeras.callbacks import BatchSizeScheduler, MicroBatches
from lbkeras.data import Pipeline
from lbkeras.errors import UserError
from lbkeras.keras_internals.replica_context import replica_context
from lbkeras.layers.replicas import sum_over_replicas
from lbkeras.methods.micro_batches.tensorflow_repeats import Repeats
from lbkeras.planning import Phase, Plan
from lbkeras.trainers import micro_batch_train_step

EXAMPLES = 72


class Memory(keras.layers.Layer):
    """Fails as if out of memory on more than `limits(c)` examples, with c its calls so far.

    Records the examples that have passed, by their first feature.
    """

    def __init__(self, limits):
        super().__init__()
        self.limits, self.passed, self.failures = limits, [], 0

    def call(self, x):
        def look(examples):
            if len(examples) > self.limits(len(self.passed)):
                self.failures += 1
                raise MemoryError  # is RESOURCE_EXHAUSTED outside the graph
            self.passed.append(np.rint(examples[:, 0] * EXAMPLES).astype(int).tolist())
            return np.float32(0)

        with tf.control_dependencies([tf.numpy_function(look, [x], tf.float32)]):
            return tf.identity(x)


def enough(calls):
    return EXAMPLES


def examples():
    generator = np.random.default_rng(0)
    x = generator.normal(size=(EXAMPLES, 6)).astype("float32")
    x[:, 0] = np.arange(EXAMPLES) / EXAMPLES
    return x, generator.integers(0, 3, EXAMPLES), generator.uniform(0.5, 2, EXAMPLES)


def a_plan(*batch_sizes, momentum=(0.9,) * 3):
    phases = [
        Phase(i, 1, size, 0.1, m)
        for i, (size, m) in enumerate(zip(batch_sizes, momentum, strict=False))
    ]
    return Plan(tuple(phases), EXAMPLES)


class Run:
    """One `fit` from fixed initial weights; `plan` is a Plan or a batch size for two epochs."""

    def __init__(
        self,
        plan,
        micro_batch_size=None,
        limits=enough,
        *,
        source=None,
        micro=True,
        strategy=None,
        optimizer=None,
        dropout=0.0,
        batch_norm=None,
        first_last=True,
        file=None,
        **compile_arguments,
    ):
        keras.utils.set_random_seed(1)
        scheduled = isinstance(plan, Plan)
        size = plan.batch_size(0) if scheduled else plan
        self.pipeline = Pipeline(source or examples(), size, seed=5)
        with strategy.scope() if strategy else contextlib.nullcontext():
            self.memory = Memory(limits)
            layers = [keras.Input((6,)), self.memory, keras.layers.Dense(8, activation="tanh")]
            layers += [batch_norm()] if batch_norm else []
            layers += [keras.layers.Dropout(dropout, seed=3)] if dropout else []
            self.model = keras.Sequential([*layers, keras.layers.Dense(3)])
            self.model.compile(
                optimizer() if optimizer else keras.optimizers.SGD(0.1, momentum=0.9),
                keras.losses.SparseCategoricalCrossentropy(from_logits=True),
                metrics=["accuracy"],
                **compile_arguments,
            )
        self.start = self.model.get_weights()
        self.micro_batches = MicroBatches(self.pipeline, micro_batch_size, file)
        callbacks = [self.micro_batches] if micro else []
        callbacks += [BatchSizeScheduler(self.pipeline, plan)] if scheduled else []
        self.fit(callbacks if first_last else callbacks[::-1], plan.epochs if scheduled else 2)

    def fit(self, callbacks, epochs):
        history = self.model.fit(self.pipeline, epochs=epochs, verbose=0, callbacks=callbacks)
        self.history = history.history

    def values(self):
        variables = [*self.model.variables, *self.model.optimizer.variables]
        return [keras.ops.convert_to_numpy(v).astype("float64") for v in variables]


@functools.cache
def undisturbed(plan):
    """Runs the same `fit` by Keras alone, undivided, on one device."""
    return Run(plan, micro=False)


def assert_equal(run, expected, tolerance=1e-6, histories=True):
    for a, b in zip(run.values(), expected.values(), strict=True):
        np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance)
    if not histories:
        return
    assert run.history.keys() == expected.history.keys()
    for name in expected.history:
        np.testing.assert_allclose(run.history[name], expected.history[name], rtol=5e-6)


def in_order(run, batch_sizes):
    """Returns the examples of every step in the pipeline's order."""
    pipeline, order = Pipeline(examples(), 1, seed=5), []
    for epoch, size in enumerate(batch_sizes):
        pipeline.batch_size = size
        for x, *_ in pipeline.dataset(epoch):
            order += np.rint(x.numpy()[:, 0] * EXAMPLES).astype(int).tolist()
    return order


@pytest.mark.slow
def test_a_schedule_that_changes_batch_size_and_momentum():
    plan = a_plan(6, 24, 36, momentum=(0.9, 0.9, 0.8))
    expected = undisturbed(plan)
    for first_last in (True, False):
        run = Run(plan, 10, first_last=first_last)
        assert_equal(run, expected)
        sizes = [len(piece) for piece in run.memory.passed]
        assert sizes == [6] * 12 + [10, 10, 4] * 3 + [10, 10, 10, 6] * 2
        assert sum(run.memory.passed, []) == in_order(run, (6, 24, 36))


@pytest.mark.release  # the gate: test_without_a_schedule_inside_an_epoch
def test_pipelines_without_a_schedule():
    expected = undisturbed(24)
    assert_equal(Run(24, 8), expected)
    assert_equal(Run(24), expected)


# Plan, memory as examples per call, final micro-batch size, number of halvings. Memory runs out in
# the first step, in the middle of an epoch, more than once, or at a larger batch in a later epoch.
SHORTAGES = {
    "first step": (a_plan(24, 24), lambda calls: 12, 12, 1),
    "twice at once": (a_plan(24, 24), lambda calls: 6, 6, 2),
    "inside an epoch": (a_plan(12, 12), lambda calls: 12 if calls < 4 else 3, 3, 2),
    "last step": (a_plan(12, 12), lambda calls: 12 if calls < 11 else 6, 6, 1),
    "grown batch": (a_plan(6, 24, 36), lambda calls: 9, 6, 2),
    "again and again": (
        a_plan(12, 12),
        lambda calls: 12 if calls < 2 else 6 if calls < 8 else 2,
        1,
        3,
    ),
}


@pytest.mark.parametrize(
    "shortage, steps_per_execution",
    [
        ("first step", 1),
        pytest.param("inside an epoch", 1, marks=pytest.mark.release),
        ("grown batch", 1),
        pytest.param("twice at once", 4, marks=pytest.mark.release),
        pytest.param("inside an epoch", 4, marks=pytest.mark.release),
        pytest.param("last step", 4, marks=pytest.mark.release),
        pytest.param("grown batch", 4, marks=pytest.mark.release),
        pytest.param("again and again", 4, marks=pytest.mark.release),
    ],
)
def test_a_step_out_of_memory_is_repeated(shortage, steps_per_execution, capsys):
    plan, limits, size, halvings = SHORTAGES[shortage]
    run = Run(plan, limits=limits, steps_per_execution=steps_per_execution)
    assert run.memory.failures >= halvings
    assert run.micro_batches.micro_batch_size == size
    assert_equal(run, undisturbed(plan))
    assert int(run.model.optimizer.iterations) == plan.updates()
    assert sum(run.memory.passed, []) == in_order(run, [p.batch_size for p in plan.phases])
    lines = capsys.readouterr().out.splitlines()
    assert lines[-1].startswith("out of memory: batch size ")
    assert lines[-1].endswith(f" on 1 replica continues with micro_batch_size {size}")


@pytest.mark.slow
def test_without_a_schedule_inside_an_epoch():
    def limits(calls):
        return 12 if calls < 4 else 3

    for steps in (1, 4):
        run = Run(12, limits=limits, steps_per_execution=steps)
        assert_equal(run, undisturbed(12))
        assert sum(run.memory.passed, []) == in_order(run, (12, 12))


def test_random_numbers_continue_where_the_step_stopped():
    """One draw per micro-batch: 4 undivided steps, then 8 of two; none for the failed step."""
    run = Run(a_plan(12, 12), limits=lambda calls: 12 if calls < 4 else 6, dropout=0.5)
    seeds = [layer for layer in run.model.layers if isinstance(layer, keras.layers.Dropout)]
    assert seeds[0].seed_generator.state.numpy().tolist() == [3, 4 + 8 * 2]


@pytest.mark.release  # the gate runs train_step_test.py eagerly
def test_run_eagerly():
    failed = []

    def limits(calls):
        if calls == 2 and not failed:
            failed.append(calls)
            raise tf.errors.ResourceExhaustedError(None, None, "as outside a graph")
        return EXAMPLES

    run = Run(a_plan(24), limits=limits, run_eagerly=True)
    assert_equal(run, undisturbed(a_plan(24)))


@pytest.mark.release  # the gate: batch_size_scheduler_plan_test.py, updates that are skipped
def test_an_optimizer_that_skips_updates():
    """Loss scaling: a step whose gradients are not finite does not count in `iterations`."""

    def optimizer():
        return keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD(0.1, momentum=0.9))

    x, y, weights = examples()
    weights[[10, 40]] = np.inf
    plan, options = a_plan(12, 12), dict(optimizer=optimizer, source=(x, y, weights))
    run = Run(plan, limits=lambda calls: 12 if calls < 4 else 6, **options)
    expected = Run(plan, micro=False, **options)
    assert plan.updates() / 2 < int(expected.model.optimizer.iterations) < plan.updates()
    assert_equal(run, expected)


@pytest.mark.slow
def test_the_size_is_stored_for_the_next_run(tmp_path):
    file = tmp_path / "run" / "micro_batch_size.json"
    Run(a_plan(24), limits=lambda calls: 6, file=file)
    assert json.loads(file.read_text()) == {"micro_batch_size": 6}
    run = Run(a_plan(24), limits=lambda calls: 6, file=file)
    assert run.memory.failures == 0 and run.micro_batches.micro_batch_size == 6
    assert Run(a_plan(24), 4, file=file).micro_batches.micro_batch_size == 4
    for content in ("6", "{", '{"micro_batch_size": 0}', "{}", '{"micro_batch_size": "6"}'):
        file.write_text(content)
        with pytest.raises(UserError, match="file: expected JSON .* received other content"):
            MicroBatches(Pipeline(examples(), 24), file=file)


def test_user_errors(tmp_path):
    with pytest.raises(UserError, match="micro_batch_size: expected at least 1, received 0"):
        MicroBatches(Pipeline(examples(), 24), 0)
    with pytest.raises(UserError, match="expected at most 24 .*, received 25"):
        Run(24, 25)
    with pytest.raises(UserError, match="expected at most 72 .*, received 73"):
        Run(a_plan(24), 73)
    run, uneven = Run(24), Pipeline(examples(), 50, shuffle=False)
    with pytest.raises(UserError, match="expected batches of one known size, received x of shape"):
        run.model.fit(uneven, verbose=0, callbacks=[MicroBatches(uneven, 8)])
    with pytest.raises(UserError, match="even one example per replica does not fit"):
        Run(a_plan(24), limits=lambda calls: 0)


@pytest.mark.release  # the gate: test_a_step_out_of_memory_is_repeated
def test_memory_that_runs_out_in_an_update():
    class Failing(keras.optimizers.SGD):
        def update_step(self, gradient, variable, learning_rate):
            def fail(iterations):
                if iterations == 4:
                    raise MemoryError
                return np.float32(0)

            failure = tf.numpy_function(fail, [self.iterations.value], tf.float32)
            super().update_step(gradient + failure, variable, learning_rate)

    for steps in (1, 3):
        with pytest.raises(UserError, match="in the middle of an update.*last checkpoint"):
            Run(a_plan(12), optimizer=lambda: Failing(0.1, momentum=0.9), steps_per_execution=steps)


@pytest.mark.slow
def test_several_workers_start_again(tmp_path, monkeypatch):
    monkeypatch.setattr(Repeats, "_several_workers", lambda self: True)
    with pytest.raises(UserError, match="on every worker with it$"):
        Run(a_plan(24), limits=lambda calls: 6)
    file = tmp_path / "micro_batch_size.json"
    for size in (12, 6):
        with pytest.raises(UserError, match="run the same command again on every worker$"):
            Run(a_plan(24), limits=lambda calls: 6, file=file)
        assert json.loads(file.read_text()) == {"micro_batch_size": size}
    assert_equal(Run(a_plan(24), limits=lambda calls: 6, file=file), undisturbed(a_plan(24)))


class Stops(keras.callbacks.Callback):
    def on_train_batch_end(self, batch, logs=None):
        raise KeyboardInterrupt


class TrainsOnABatch(keras.callbacks.Callback):
    def on_epoch_end(self, epoch, logs=None):
        self.model.train_on_batch(*self.batch)


@pytest.mark.release  # the gate restores the train function after `fit`
def test_train_on_batch_in_a_callback_does_not_disturb_micro_batches():
    run, callback = Run(24, 8), TrainsOnABatch()
    pieces = len(run.memory.passed)
    callback.batch = next(run.pipeline.dataset().as_numpy_iterator())[:2]
    run.fit([MicroBatches(run.pipeline, 8), callback], 2)
    sizes = [len(each) for each in run.memory.passed[pieces:]]
    epoch = [8, 8, 8] * run.pipeline.steps_per_epoch
    assert sizes == [*epoch, 24] * 2
    assert "make_train_function" not in vars(run.model)


def test_the_models_own_train_function_is_restored_after_fit():
    run = Run(24, 8)
    pieces = len(run.memory.passed)
    assert "make_train_function" not in vars(run.model) and run.model.train_function is None
    with pytest.raises(KeyboardInterrupt):
        run.fit([MicroBatches(run.pipeline, 8), Stops()], 1)
    run.fit([], 1)
    assert "make_train_function" not in vars(run.model)
    assert [len(p) for p in run.memory.passed[pieces:]] == [8, 8, 8] + [24] * 3


@pytest.mark.parametrize(
    "shortage",
    [
        pytest.param("first step", marks=pytest.mark.release),
        pytest.param("inside an epoch", marks=pytest.mark.release),
        "grown batch",
    ],
)
@pytest.mark.slow
def test_replicas(mirrored, shortage):
    """Each replica has half of the batch and of the memory; compared with Keras, undivided."""
    plan, limits, size, _ = SHORTAGES[shortage]
    run = Run(plan, limits=lambda calls: limits(calls // 2) // 2, strategy=mirrored)
    assert run.micro_batches.micro_batch_size == max(size // 2, 1)
    assert_equal(run, Run(plan, micro=False, strategy=mirrored))
    assert_equal(run, undisturbed(plan))


@pytest.mark.release  # the gate: one device runs out of memory, and test_replicas
def test_one_of_two_replicas_runs_out_of_memory(mirrored):
    """The other replica has all its gradients by then, but must not have changed anything."""

    def make(**arguments):
        return Run(a_plan(24, 24), strategy=mirrored, **arguments)

    failed = []

    def limits(calls):
        if calls == 4 and not failed:  # the first replica to arrive in the third step
            failed.append(calls)
            return 1
        return 12

    run = make(limits=limits)
    assert failed and run.micro_batches.micro_batch_size == 6
    assert_equal(run, make(micro=False))


@pytest.mark.release
def test_synchronized_batch_normalization_over_the_replicas_micro_batches(mirrored):
    """Micro-batches i of all replicas form a ghost batch, as on one device with this order."""

    def batch_norm():
        return keras.layers.BatchNormalization(synchronized=True)

    run = Run(a_plan(24), 4, strategy=mirrored, batch_norm=batch_norm)
    assert {len(piece) for piece in run.memory.passed} == {4}
    one = Run(a_plan(24), micro=False, batch_norm=batch_norm)
    one.model.set_weights(run.start)
    one.model.compile(keras.optimizers.SGD(0.1, momentum=0.9), one.model.loss, metrics=["accuracy"])
    order = np.arange(24).reshape(2, 3, 4).transpose(1, 0, 2).ravel()
    step = micro_batch_train_step(one.model, 8)
    for batch in run.pipeline.dataset(0):
        step([tf.gather(part, order) for part in batch])
    assert_equal(run, one, histories=False)

    undivided = Run(a_plan(24), strategy=mirrored, batch_norm=batch_norm)
    expected = Run(a_plan(24), micro=False, strategy=mirrored, batch_norm=batch_norm)
    assert_equal(undivided, expected)


@pytest.mark.release  # the gate: ghost_batch_normalization_distributed_test.py
def test_layers_that_communicate_between_replicas_outside_a_loop(mirrored):
    """Replicas average their statistics, which does not change the weights of Keras' batch norm."""

    class Averaged(keras.layers.BatchNormalization):
        def call(self, inputs, training=None, mask=None):
            outputs = super().call(inputs, training=training, mask=mask)
            context = replica_context()
            if training and context is not None:
                (total,) = sum_over_replicas(context, keras.ops.copy(self.moving_mean))
                self.moving_mean.assign(total / context.num_replicas_in_sync)
            return outputs

    run = Run(a_plan(24), 4, strategy=mirrored, batch_norm=Averaged)
    plain = Run(a_plan(24), 4, strategy=mirrored, batch_norm=keras.layers.BatchNormalization)
    for ours, theirs in zip(
        run.model.trainable_weights, plain.model.trainable_weights, strict=True
    ):
        np.testing.assert_allclose(ours.numpy(), theirs.numpy(), rtol=1e-6, atol=1e-6)


def test_gradient_accumulation_by_keras_is_an_error():
    run = Run(24)
    run.model.compile(keras.optimizers.SGD(0.1, gradient_accumulation_steps=2), "mse")
    train = Pipeline(examples(), 24)
    with pytest.raises(UserError, match="^gradient_accumulation_steps: expected none with Micro"):
        run.model.fit(train, verbose=0, callbacks=[MicroBatches(train, 8)])
