"""The batch size inside one `fit`: sizes of the real tensors, and the resulting weights.

Plans, with their learning rate and momentum, are in batch_size_scheduler_plan_test.py.
"""

import importlib.util
import itertools
import os
import re
import subprocess
import sys
import textwrap

import keras
import numpy as np
import pytest

from lbkeras.callbacks import BatchSizeScheduler, ProgressBar
from lbkeras.data import Pipeline
from lbkeras.errors import UserError
from lbkeras.planning import Phase, Plan

SIZES = (128, 128, 256, 512, 256, 64)
UPDATES = 11 + 11 + 5 + 2 + 5 + 22  # on 1,437 digits, remainders dropped
STEP_SIZES = [size for size in SIZES for _ in range(1437 // size)]


def by_epoch(epoch, batch_size):
    return SIZES[epoch]


def same(epoch, batch_size):
    return batch_size


def fit(model, train, schedule, *callbacks, epochs=6, **arguments):
    callbacks = [BatchSizeScheduler(train, schedule), *callbacks]
    arguments.setdefault("verbose", 0)
    return model.fit(train, epochs=epochs, callbacks=callbacks, **arguments)


def assert_same_weights(model, other, atol):
    for ours, expected in zip(model.get_weights(), other.get_weights(), strict=True):
        np.testing.assert_allclose(ours, expected, rtol=0, atol=atol)


# The size of every step.


@pytest.mark.parametrize("steps_per_execution", [1, 3, 50])
def test_every_step_has_its_epochs_batch_size(compiled, digits, steps_per_execution):
    model = compiled(steps_per_execution=steps_per_execution)
    history = fit(model, Pipeline(digits, 32), by_epoch)
    assert model.sizes() == STEP_SIZES
    assert model.optimizer.iterations == UPDATES == 56
    assert history.history["batch_size"] == list(SIZES)
    assert len(history.history["loss"]) == 6


@pytest.mark.release  # the gate: equivalence_test.py
def test_steps_per_execution_does_not_change_the_weights(compiled, digits):
    models = [compiled(steps_per_execution=steps) for steps in (1, 4)]
    for model in models:
        fit(model, Pipeline(digits, 32), by_epoch)
    assert_same_weights(*models, atol=1e-6)


@pytest.mark.release  # the gate compiles by XLA in tests/methods/micro_batches/train_step_test.py
def test_every_step_has_its_epochs_batch_size_when_compiled_by_xla(compiled, digits):
    model, plain = compiled(jit_compile=True), compiled(jit_compile=False)
    for each in (model, plain):
        fit(each, Pipeline(digits, 32), by_epoch)
    assert model.jit_compile and model.sizes() == STEP_SIZES
    assert model.optimizer.iterations == UPDATES
    assert_same_weights(model, plain, atol=1e-5)


@pytest.mark.release  # the gate: tests/distribution/equivalence_test.py
def test_two_devices_equal_one(compiled, digits, mirrored):
    test = Pipeline((digits[0][:300], digits[1][:300]), 100, shuffle=False)
    with mirrored.scope():
        model = compiled()
    one = compiled()
    logs = [fit(m, Pipeline(digits, 32), by_epoch, validation_data=test) for m in (model, one)]
    assert model.sizes() == STEP_SIZES  # summed over the replicas
    assert model.optimizer.iterations == UPDATES
    assert_same_weights(model, one, atol=1e-5)
    for name, values in logs[1].history.items():
        np.testing.assert_allclose(logs[0].history[name], values, rtol=1e-4)


def test_each_batch_size_is_traced_as_in_a_run_that_resumes_there(digits):
    """A function for any size rounds differently, so a resumed run would differ in the last bit."""
    traced = []

    class Model(keras.Model):
        def train_step(self, data):
            traced.append(data[0].shape[0])
            return super().train_step(data)

    inputs = keras.Input((8, 8, 1))
    model = Model(inputs, keras.layers.Dense(10)(keras.layers.Flatten()(inputs)))
    model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    train = Pipeline((digits[0][:64], digits[1][:64]), 8)
    sizes = (8, 16, 16, 32)
    scheduler = BatchSizeScheduler(train, lambda epoch, size: sizes[epoch])
    model.fit(train, epochs=4, verbose=0, callbacks=[scheduler])
    assert list(dict.fromkeys(traced)) == [8, 16, 32]


def test_ordinary_models_are_on_the_first_device(compiled, mirrored):
    assert compiled().weights[0].value.device.endswith("CPU:0")


@pytest.mark.parametrize("steps_per_execution", [1, 3])
def test_a_tail_that_is_kept(compiled, digits, steps_per_execution):
    """With `shuffle=False` the last, smaller batch is trained on too."""
    model = compiled(steps_per_execution=steps_per_execution)
    fit(model, Pipeline(digits, 32, shuffle=False), lambda epoch, size: (500, 700)[epoch], epochs=2)
    assert model.sizes() == [500, 500, 437, 700, 700, 37]


def test_function_schedule_gets_epoch_and_present_size(compiled, digits):
    asked = []

    def doubling(epoch, batch_size):
        asked.append((epoch, batch_size))
        return batch_size * 2 if epoch else batch_size

    history = fit(compiled(), Pipeline(digits, 100), doubling, epochs=3)
    assert asked == [(0, 100), (1, 100), (2, 200)]
    assert history.history["batch_size"] == [100, 200, 400]


def test_initial_epoch_and_a_second_fit_with_the_same_objects(compiled, digits):
    model, train = compiled(), Pipeline(digits, 32)
    scheduler = BatchSizeScheduler(train, by_epoch)
    model.fit(train, epochs=3, verbose=0, callbacks=[scheduler])
    model.fit(train, epochs=6, initial_epoch=3, verbose=0, callbacks=[scheduler])
    assert model.sizes() == STEP_SIZES and model.optimizer.iterations == UPDATES
    one = compiled()
    fit(one, Pipeline(digits, 32), by_epoch)
    assert_same_weights(model, one, atol=0)  # the epochs have their own orders
    model.fit(train, epochs=1, verbose=0, callbacks=[scheduler])
    assert model.sizes() == STEP_SIZES + [128] * 11


def test_verbose_prints_each_change(compiled, digits, capsys):
    train = Pipeline(digits, 128)
    callback = BatchSizeScheduler(train, by_epoch, verbose=1)
    compiled().fit(train, epochs=4, verbose=0, callbacks=[callback])
    assert capsys.readouterr().out.splitlines() == [
        "Epoch 3: batch size 128 -> 256",
        "Epoch 4: batch size 256 -> 512",
    ]


PHASES = [Phase(0, 1, 128, 0.1, 0.0), Phase(1, 1, 256, 0.1, 0.0), Phase(2, 1, 512, 0.02, 0.0)]


def test_a_plans_learning_rate_is_printed_if_it_changes_too(compiled, digits, capsys):
    plan, train = Plan(PHASES, 1437), Pipeline(digits, 128)
    model = compiled(keras.optimizers.SGD(plan.learning_rate_schedule()))
    model.fit(train, epochs=3, verbose=0, callbacks=[BatchSizeScheduler(train, plan, verbose=1)])
    assert capsys.readouterr().out.splitlines() == [
        "Epoch 2: batch size 128 -> 256",
        "Epoch 3: batch size 256 -> 512, learning rate 0.1 -> 0.02",
    ]


def test_the_summary_compares_with_the_first_batch_size(compiled, digits, capsys):
    """11, 5 and 2 updates against three epochs of 11; when resumed against two, without a time."""
    plan, train = Plan(PHASES, 1437), Pipeline(digits, 128)
    model = compiled(keras.optimizers.SGD(plan.learning_rate_schedule()))
    callbacks = [BatchSizeScheduler(train, plan), ProgressBar(train)]
    model.fit(train, epochs=3, verbose=2, callbacks=callbacks)
    line = capsys.readouterr().out.splitlines()[-1]
    assert re.fullmatch(
        r"18 updates, [\d.]+ s of training, 3,712 examples; at batch size 128 throughout: "
        r"33 updates \(1\.8 times as many\), about [\d.]+ m?s", line
    ), line  # fmt: skip
    model.fit(train, epochs=3, initial_epoch=1, verbose=2, callbacks=callbacks)
    assert (
        capsys.readouterr()
        .out.splitlines()[-1]
        .endswith(" 2,304 examples; at batch size 128 throughout: 22 updates (3.1 times as many)")
    )


@pytest.mark.parametrize("silent", ["verbose", "many"])
def test_no_summary_if_nobody_reads_it(compiled, digits, capsys, silent):
    train = Pipeline(digits, 512)
    bar = ProgressBar(train, seconds_between_lines=1e6 if silent == "many" else 0.0)
    callbacks = [BatchSizeScheduler(train, lambda epoch, size: size), bar]
    compiled().fit(train, verbose=0 if silent == "verbose" else 2, callbacks=callbacks)
    assert capsys.readouterr().out == ""


# With other callbacks.


class StopAt(keras.callbacks.Callback):
    """Asks to stop at one update, like a user's callback."""

    def __init__(self, update):
        super().__init__()
        self.update = update

    def on_train_batch_end(self, batch, logs=None):
        if self.model.optimizer.iterations == self.update:
            self.model.stop_training = True


@pytest.mark.parametrize("update", [3, 11, 12, 22, 27])
@pytest.mark.parametrize("scheduler_first", [True, False])
def test_a_users_stop_is_kept(trained_once, update, scheduler_first):
    """In the middle of an epoch, at its last step and at its first."""
    model, train, reset = trained_once
    reset()
    callbacks = [BatchSizeScheduler(train, by_epoch), StopAt(update)]
    model.fit(train, epochs=6, verbose=0, callbacks=callbacks[:: 1 if scheduler_first else -1])
    assert model.optimizer.iterations == update
    assert model.stop_training is True


@pytest.fixture(scope="module")
def trained_once(compiled, digits):
    """Returns a model with a traced train function, a pipeline, and a function that resets both."""
    model, train = compiled(), Pipeline(digits, 128, shuffle=False)
    model.optimizer.build(model.trainable_variables)
    start = [v.numpy() for v in model.variables + model.optimizer.variables]

    def reset():
        for variable, value in zip(model.variables + model.optimizer.variables, start, strict=True):
            variable.assign(value)
        train.batch_size = 128

    return model, train, reset


class LearningRates(keras.callbacks.Callback):
    def on_train_begin(self, logs=None):
        self.rates = []

    def on_epoch_begin(self, epoch, logs=None):
        self.rates.append(float(self.model.optimizer.learning_rate))


def keras_callbacks():
    return [
        keras.callbacks.EarlyStopping(
            "loss", min_delta=0.03, patience=1, restore_best_weights=True
        ),
        keras.callbacks.ReduceLROnPlateau("loss", factor=0.5, min_delta=0.05, patience=1),
        keras.callbacks.TerminateOnNaN(),
    ]


@pytest.mark.slow
def test_keras_callbacks_act_as_in_a_plain_fit_in_any_order(trained_once, digits):
    """EarlyStopping also restores the best weights; the data are in the same order."""
    model, train, reset = trained_once
    reset()
    rates = LearningRates()
    early, reduce, nan = keras_callbacks()
    expected = model.fit(*digits, 128, 40, 0, [early, reduce, nan, rates], shuffle=False)
    weights = model.get_weights()
    assert 0 < early.stopped_epoch < 39, "the test is void unless it stops early"
    assert len(set(rates.rates)) > 1, "the test is void unless the learning rate falls"

    for order in itertools.permutations(range(4)):
        reset()
        ours = [*keras_callbacks(), BatchSizeScheduler(train, same)]
        measured = LearningRates()
        history = model.fit(
            train, epochs=40, verbose=0, callbacks=[*(ours[i] for i in order), measured]
        )
        assert ours[0].stopped_epoch == early.stopped_epoch, order
        assert measured.rates == rates.rates, order
        np.testing.assert_allclose(history.history["loss"], expected.history["loss"], rtol=1e-5)
        for received, value in zip(model.get_weights(), weights, strict=True):
            np.testing.assert_allclose(received, value, atol=1e-5, err_msg=str(order))


@pytest.mark.release  # the gate: test_a_users_stop_is_kept and stop_on_nan_test.py
@pytest.mark.parametrize("scheduler_first", [True, False])
def test_terminate_on_nan_stops_where_it_does_in_a_plain_fit(compiled, digits, scheduler_first):
    x, y = digits
    weights = np.ones(len(x), np.float32)
    weights[600] = np.nan  # in the fifth batch of 128
    updates = []
    for scheduled in (False, True):
        model = compiled()
        callbacks = [keras.callbacks.TerminateOnNaN()]
        if scheduled:
            train = Pipeline((x, y, weights), 128, shuffle=False)
            callbacks.insert(0 if scheduler_first else 1, BatchSizeScheduler(train, same))
            history = model.fit(train, epochs=3, verbose=0, callbacks=callbacks)
        else:
            history = model.fit(x, y, 128, 3, 0, callbacks, sample_weight=weights, shuffle=False)
        updates.append((int(model.optimizer.iterations), len(history.epoch)))
    assert updates == [(5, 1), (5, 1)]


@pytest.mark.parametrize("save_freq", ["epoch", 5])
def test_model_checkpoint_saves_as_in_a_plain_fit(trained_once, digits, tmp_path, save_freq):
    model, train, reset = trained_once
    saved = []
    for name in ("plain", "first", "last"):
        reset()
        path = tmp_path / name
        path.mkdir()
        saver = keras.callbacks.ModelCheckpoint(
            str(path / "{epoch:02d}.weights.h5"), save_weights_only=True, save_freq=save_freq
        )
        scheduler = BatchSizeScheduler(train, same)
        orders = {"plain": [saver], "first": [saver, scheduler], "last": [scheduler, saver]}
        arguments = dict(epochs=4, verbose=0, callbacks=orders[name])
        if name == "plain":
            model.fit(*digits, batch_size=128, shuffle=False, **arguments)
        else:
            model.fit(train, **arguments)
        weights = {}
        for file in sorted(path.iterdir()):
            model.load_weights(file)
            weights[file.name] = model.get_weights()
        saved.append(weights)
    assert len(saved[0]) == 4
    for weights in saved[1:]:
        assert list(weights) == list(saved[0])
        for file, expected in saved[0].items():
            for ours, value in zip(weights[file], expected, strict=True):
                np.testing.assert_allclose(ours, value, atol=1e-6)


@pytest.mark.parametrize("form", ["pipeline", "arrays"])
def test_validation_data(compiled, digits, form):
    """The remainder counts: the accuracy is that of all 333 examples, each once."""
    x, y = digits[0][:333], digits[1][:333]
    model = compiled()
    data = Pipeline((x, y), 100, shuffle=False) if form == "pipeline" else (x, y)
    history = fit(model, Pipeline(digits, 32), by_epoch, epochs=3, validation_data=data)
    logits = model.predict(x, verbose=0)
    assert history.history["val_accuracy"][-1] == pytest.approx(np.mean(logits.argmax(1) == y))
    loss = np.mean(np.log(np.exp(logits).sum(1)) - logits[np.arange(333), y])
    assert history.history["val_loss"][-1] == pytest.approx(loss, rel=1e-5)
    assert len(history.history["val_loss"]) == 3
    assert model.sizes() == STEP_SIZES[:27]


@pytest.mark.release  # the gate: train_step_test.py has sample weights
def test_sample_weights_are_class_weights_of_a_plain_fit(compiled, digits):
    x, y = digits
    class_weights = np.linspace(0.1, 3.0, 10, dtype=np.float32)
    plain, model = compiled(), compiled()
    plain.fit(x, y, 128, 2, 0, shuffle=False, class_weight=dict(enumerate(class_weights)))
    train = Pipeline((x, y, class_weights[y]), 128, shuffle=False)
    fit(model, train, same, epochs=2)
    assert_same_weights(model, plain, atol=1e-6)
    unweighted = compiled()
    fit(unweighted, Pipeline((x, y), 128, shuffle=False), same, epochs=2)
    assert np.abs(unweighted.get_weights()[0] - plain.get_weights()[0]).max() > 1e-3


# Errors that the user can fix.


@pytest.mark.parametrize(
    "schedule, message",
    [
        (lambda epoch, size: 0, "expected 1 to 1437 .* received 0"),
        (lambda epoch, size: 2000, "expected 1 to 1437 .* received 2000"),
        (lambda epoch, size: size / 2, "expected an integer, received 16.0"),
        (lambda epoch, size: None, "expected an integer, received None"),
    ],
)
def test_invalid_sizes(trained_once, digits, schedule, message):
    with pytest.raises(UserError, match=f"batch_size: {message}"):
        fit(trained_once[0], Pipeline(digits, 32), schedule)


@pytest.mark.parametrize("size, nearest", [(33, "32 and 34"), (1, "2")])
def test_sizes_that_the_replicas_do_not_divide(compiled, digits, mirrored, size, nearest):
    with mirrored.scope():
        model = compiled()
    message = f"multiple of the 2 replicas, received {size}; the nearest .* {nearest}"
    with pytest.raises(UserError, match=message):
        fit(model, Pipeline(digits, 32), lambda epoch, batch_size: size)
    with pytest.raises(UserError, match=message):
        fit(model, Pipeline(digits, 32), Plan([Phase(0, 6, size, 0.1, 0.9)], 1437))


def test_plan_for_other_data(digits):
    plan = Plan([Phase(0, 6, 32, 0.1, 0.9)], 1000)
    with pytest.raises(UserError, match="plan for 1437 examples .* received one for 1000"):
        BatchSizeScheduler(Pipeline(digits, 32), plan)


def test_plan_shorter_than_fit(trained_once, digits):
    plan = Plan([Phase(0, 2, 32, 0.1, 0.9)], 1437)
    with pytest.raises(UserError, match=r"epochs: expected at most .* 2, received fit\(epochs=3\)"):
        fit(trained_once[0], Pipeline(digits, 32), plan, epochs=3)


def test_plan_with_another_momentum(trained_once, digits):
    plan = Plan([Phase(0, 2, 32, 0.1, 0.8)], 1437)
    with pytest.raises(UserError, match="momentum: expected .* 0.8, received .* 0.9"):
        fit(trained_once[0], Pipeline(digits, 32), plan, epochs=1)


@pytest.mark.parametrize(
    "theirs",
    [keras.callbacks.LearningRateScheduler(lambda epoch: 0.1), keras.callbacks.ReduceLROnPlateau()],
    ids=lambda callback: type(callback).__name__,
)
def test_a_keras_callback_with_the_plans_schedule(compiled, digits, theirs):
    train, model = Pipeline(digits, 16), compiled()
    plan = Plan([Phase(0, 1, 16, 0.1, 0.9)], 1437)
    model.compile(keras.optimizers.SGD(plan.learning_rate_schedule(), 0.9), "mse")
    with pytest.raises(UserError) as raised:
        model.fit(train, verbose=0, callbacks=[theirs, BatchSizeScheduler(train, plan)])
    assert str(raised.value) == (
        f"learning_rate: the plan's schedule and {type(theirs).__name__} cannot both set it; "
        "expected one of the two"
    )


@pytest.mark.parametrize(
    "settings, begin",
    [
        (dict(jit_compile=True), "jit_compile: expected False or 'auto' on these replicas"),
        (dict(accumulate=2), "gradient_accumulation_steps: expected none with several replicas"),
    ],
)
def test_what_replicas_cannot_do(compiled, digits, mirrored, settings, begin):
    accumulate = settings.pop("accumulate", None)
    with mirrored.scope():
        model = compiled()
        optimizer = keras.optimizers.SGD(0.1, gradient_accumulation_steps=accumulate)
        model.compile(optimizer, "sparse_categorical_crossentropy", **settings)
    train = Pipeline(digits, 16)
    with pytest.raises(UserError, match=f"^{begin}"):
        model.fit(train, verbose=0, callbacks=[BatchSizeScheduler(train, lambda epoch, size: size)])
    assert model.optimizer.iterations == 0


# Other backends.


@pytest.mark.release  # in the gate tests/data/jax_pipeline_test.py trains with sizes that grow
def test_on_jax():
    if importlib.util.find_spec("jax") is None:
        pytest.skip("jax is not installed")
    program = """
        import keras, numpy as np
        from lbkeras.callbacks import BatchSizeScheduler
        from lbkeras.data import Pipeline
        from lbkeras.data.digits import load_digits
        from lbkeras.planning import Phase, Plan

        assert keras.backend.backend() == "jax"
        sizes = (128, 128, 256, 512, 256, 64)
        momenta = (0.9, 0.9, 0.9, 0.5, 0.5, 0.9)
        plan = Plan([Phase(e, 1, s, 0.1, m) for e, (s, m) in enumerate(zip(sizes, momenta))], 1437)
        train = Pipeline(load_digits("train"), 128)
        model = keras.Sequential([keras.Input((8, 8, 1)), keras.layers.Rescaling(1 / 16),
            keras.layers.Flatten(), keras.layers.Dense(10, kernel_initializer="zeros")])
        model.compile(keras.optimizers.SGD(plan.learning_rate_schedule(), 0.9),
            keras.losses.SparseCategoricalCrossentropy(from_logits=True), metrics=["accuracy"])
        test = Pipeline(load_digits("test"), 100, shuffle=False)
        history = model.fit(train, epochs=6, validation_data=test, verbose=0,
                            callbacks=[BatchSizeScheduler(train, plan)])
        assert history.history["batch_size"] == list(sizes)
        assert int(model.optimizer.iterations) == 56, model.optimizer.iterations

        weights, bias = np.zeros((64, 10)), np.zeros(10)
        velocities = [np.zeros_like(weights), np.zeros_like(bias)]
        for epoch in range(6):
            train.batch_size = sizes[epoch]
            for x, y in train.dataset(epoch).as_numpy_iterator():
                x = x.reshape(len(x), 64) / 16
                p = np.exp(x @ weights + bias)
                error = (p / p.sum(1, keepdims=True) - np.eye(10)[y]) / len(x)
                for v, g in zip(velocities, (x.T @ error, error.sum(0))):
                    v *= momenta[epoch]
                    v -= 0.1 * g
                weights += velocities[0]
                bias += velocities[1]
        for ours, expected in zip(model.get_weights(), (weights, bias)):
            np.testing.assert_allclose(ours, expected, rtol=0, atol=1e-5)
        print("same weights")
    """
    environment = os.environ | {"KERAS_BACKEND": "jax", "JAX_PLATFORMS": "cpu"}
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)],
        env=environment, capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith("same weights\n")
