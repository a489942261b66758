"""A run that was killed and restored ends as if nothing had happened, bit for bit."""

import functools
import types

import keras
import numpy as np
import pytest

from lbkeras.callbacks import BatchSizeScheduler, Checkpoint, TrainingStatistics
from lbkeras.data import Pipeline
from lbkeras.errors import UserError

SIZES = (128, 256, 128, 256)  # 11, 5, 11 and 5 updates


class Killed(Exception):
    pass


class KillAt(keras.callbacks.Callback):
    """Simulates a power cut after an update or after an epoch."""

    def __init__(self, update=None, epoch=None):
        super().__init__()
        self.update, self.epoch = update, epoch

    def on_train_batch_end(self, batch, logs=None):
        if self.update is not None and self.model.optimizer.iterations >= self.update:
            raise Killed

    def on_epoch_end(self, epoch, logs=None):
        if epoch == self.epoch:
            raise Killed


class LastState(keras.callbacks.Callback):
    """Keeps all variables at the end of the last epoch, before EarlyStopping restores the best."""

    def on_epoch_end(self, epoch, logs=None):
        self.values = [v.numpy() for v in self.model.variables + self.model.optimizer.variables]


class Run:
    """A model, its data and its callbacks, created as a program does at its start."""

    def __init__(self, compiled, source, directory, optimizer, steps_per_execution, seed, minutes):
        keras.backend.clear_session(free_memory=False)
        self.model = compiled(
            optimizer(), seed=seed, hidden=8, dropout=0.3, steps_per_execution=steps_per_execution
        )
        self.train = Pipeline(source, 64, seed=5)
        self.early = keras.callbacks.EarlyStopping(
            "loss", min_delta=5.0, patience=50, restore_best_weights=True
        )
        self.reduce = keras.callbacks.ReduceLROnPlateau("loss", min_delta=5.0, patience=2)
        self.statistics = TrainingStatistics(self.train)
        others = [
            BatchSizeScheduler(self.train, lambda epoch, size: SIZES[epoch]),
            self.statistics,
            self.early,
            self.reduce,
        ]
        self.checkpoint = Checkpoint(directory, self.train, others, minutes)
        self.last = LastState()
        self.callbacks = [*others, self.checkpoint, self.last]
        self.reports = []

    def fit(self, kill=None):
        first = self.checkpoint.restore(self.model, report=self.reports.append)
        callbacks = self.callbacks + ([kill] if kill else [])
        return self.model.fit(
            self.train, epochs=4, initial_epoch=first, verbose=0, callbacks=callbacks
        )


@pytest.fixture(scope="module")
def new_run(compiled, digits):
    def make(directory, optimizer, steps_per_execution=1, seed=0, minutes=0.0):
        return Run(compiled, digits, directory, optimizer, steps_per_execution, seed, minutes)

    return make


def sgd():
    return keras.optimizers.SGD(0.05, momentum=0.9)


def adam():
    return keras.optimizers.Adam(0.01)


TIMES = {"seconds", "examples_per_second"}


@pytest.fixture(scope="module")
def undisturbed(new_run, tmp_path_factory):
    """Returns a function that returns an uninterrupted run and its history."""

    @functools.cache
    def make(optimizer, steps_per_execution):
        run = new_run(tmp_path_factory.mktemp("whole"), optimizer, steps_per_execution, minutes=10)
        return run, run.fit().history

    return make


@pytest.fixture
def assert_goes_on_the_same(new_run, undisturbed, tmp_path):
    return functools.partial(_assert_goes_on_the_same, new_run, undisturbed, tmp_path)


def _assert_goes_on_the_same(
    new_run, undisturbed, tmp_path, kill, optimizer=sgd, steps_per_execution=1
):
    whole, expected = undisturbed(optimizer, steps_per_execution)
    killed = new_run(tmp_path / "killed", optimizer, steps_per_execution)
    with pytest.raises(Killed):
        killed.fit(kill)
    resumed = new_run(tmp_path / "killed", optimizer, steps_per_execution, seed=99)
    history = resumed.fit()
    assert resumed.reports == []

    for ours, value in zip(resumed.last.values, whole.last.values, strict=True):
        np.testing.assert_array_equal(ours, value)
    assert 0 < len(history.epoch) and history.epoch[-1] == 3
    for name, values in history.history.items():
        if name not in TIMES:
            assert values == expected[name][-len(values) :], name
    for name in ("wait", "best", "best_epoch", "stopped_epoch"):
        assert getattr(resumed.early, name) == getattr(whole.early, name), name
    for ours, value in zip(resumed.early.best_weights, whole.early.best_weights, strict=True):
        np.testing.assert_array_equal(ours, value)
    for name in ("wait", "best", "cooldown_counter"):
        assert getattr(resumed.reduce, name) == getattr(whole.reduce, name), name
    assert resumed.statistics.examples_seen == whole.statistics.examples_seen == 2 * 2688
    return whole, history


@pytest.mark.parametrize("optimizer", [sgd, pytest.param(adam, marks=pytest.mark.release)])
def test_killed_inside_an_epoch(assert_goes_on_the_same, optimizer):
    whole, history = assert_goes_on_the_same(KillAt(update=22), optimizer)
    assert history.epoch == [2, 3]
    # Otherwise the callbacks' state would not be tested.
    assert (whole.early.wait, whole.early.best_epoch, whole.reduce.wait) == (3, 0, 1)
    assert history.history["learning_rate"][-1] < history.history["learning_rate"][0]


@pytest.mark.release
def test_killed_inside_an_epoch_with_several_steps_in_one_call(assert_goes_on_the_same, tmp_path):
    assert_goes_on_the_same(KillAt(update=24), steps_per_execution=4)
    files = sorted(path.name for path in (tmp_path / "killed").iterdir())
    assert files == ["update_000000031.npz", "update_000000032.npz"]


@pytest.mark.release  # the gate kills inside an epoch
def test_killed_at_the_first_update(assert_goes_on_the_same):
    assert_goes_on_the_same(KillAt(update=1))


# The gate kills inside an epoch, and processes at random moments: tests/cli/train_test.py.
@pytest.mark.release
def test_killed_after_an_epoch(assert_goes_on_the_same):
    _, history = assert_goes_on_the_same(KillAt(epoch=1))
    assert history.epoch == [2, 3]


@pytest.mark.slow
def test_killed_twice_in_one_epoch(new_run, assert_goes_on_the_same, tmp_path):
    first = new_run(tmp_path / "killed", sgd)
    with pytest.raises(Killed):
        first.fit(KillAt(update=18))
    assert_goes_on_the_same(KillAt(update=23))


@pytest.mark.release  # the gate compares resumed runs with one that saves nothing
def test_saving_does_not_change_a_run(new_run, undisturbed, tmp_path):
    seldom, _ = undisturbed(sgd, 1)
    often = new_run(tmp_path, sgd, minutes=0)
    often.fit()
    for ours, value in zip(often.last.values, seldom.last.values, strict=True):
        np.testing.assert_array_equal(ours, value)


@pytest.mark.parametrize("minutes, expected", [(2.5, [3, 6, 9]), (0.5, range(1, 11))])
def test_minutes_count_from_the_last_checkpoint(compiled, digits, tmp_path, minutes, expected):
    """With a clock on which an update takes a minute, in an epoch of 11 updates."""
    model, train = compiled(), Pipeline(digits, 128)
    clock = types.SimpleNamespace(monotonic=lambda: 60.0 * int(model.optimizer.iterations))
    seen = set()

    class Look(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            seen.update(int(path.stem.removeprefix("update_")) for path in tmp_path.iterdir())

    scheduler = BatchSizeScheduler(train, lambda epoch, size: size)
    checkpoint = Checkpoint(tmp_path, train, [scheduler], minutes)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("lbkeras.callbacks.checkpoint.time", clock)
        model.fit(train, verbose=0, callbacks=[scheduler, checkpoint, Look()])
    assert sorted(seen) == list(expected)


@pytest.mark.slow
def test_resume_in_the_same_process_with_the_same_pipeline(compiled, digits, tmp_path, mirrored):
    """The pipeline was already read at this batch size; also on two devices and with streams."""
    train = Pipeline(digits, 256, seed=5)
    weights = []
    for kill in (None, KillAt(update=8)):
        with mirrored.scope():
            model = compiled()
        scheduler = BatchSizeScheduler(train, lambda epoch, size: 256)
        checkpoint = Checkpoint(tmp_path / str(bool(kill)), train, [scheduler], minutes=0)
        arguments = dict(epochs=2, verbose=0)
        if kill is None:
            model.fit(train, callbacks=[scheduler, checkpoint], **arguments)
        else:
            with pytest.raises(Killed):
                model.fit(train, callbacks=[scheduler, checkpoint, kill], **arguments)
            first = checkpoint.restore(model)
            assert first == 1
            callbacks = [scheduler, checkpoint]
            model.fit(train, initial_epoch=first, callbacks=callbacks, **arguments)
        assert model.optimizer.iterations == 10
        weights.append(model.get_weights())
    for ours, value in zip(*weights, strict=True):
        np.testing.assert_array_equal(ours, value)


@pytest.mark.release  # the gate: average_statistics_test.py
def test_statistics_that_differ_between_replicas_resume_as_their_mean(digits, tmp_path, mirrored):
    def start(directory):
        with mirrored.scope():
            model = keras.Sequential(
                [
                    keras.Input((8, 8, 1)),
                    keras.layers.Rescaling(1 / 16),
                    keras.layers.Flatten(),
                    keras.layers.BatchNormalization(),
                    keras.layers.Dense(10, kernel_initializer=keras.initializers.GlorotUniform(0)),
                ]
            )
            loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
            model.compile(keras.optimizers.SGD(0.05), loss)
        train = Pipeline(digits, 256, seed=5)
        callbacks = [BatchSizeScheduler(train, lambda epoch, size: size)]
        checkpoint = Checkpoint(tmp_path / directory, train, callbacks, minutes=0)
        return model, checkpoint, dict(x=train, verbose=0, callbacks=[*callbacks, checkpoint])

    model, _, arguments = start("whole")
    model.fit(**arguments)

    killed, _, arguments = start("killed")
    arguments["callbacks"].append(KillAt(update=3))
    with pytest.raises(Killed):
        killed.fit(**arguments)
    mean = killed.layers[2].moving_mean
    first, second = mirrored.experimental_local_results(mean.value)
    np.testing.assert_array_equal(first, second)

    resumed, checkpoint, arguments = start("killed")
    assert checkpoint.restore(resumed) == 0
    np.testing.assert_array_equal(resumed.layers[2].moving_mean, mean)
    resumed.fit(**arguments)
    for ours, value in zip(resumed.get_weights(), model.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, value)


class Counter(keras.callbacks.Callback):
    """Counts updates on the device."""

    def set_model(self, model):
        self.variables = [keras.Variable(0, dtype="int32")]

    def on_train_batch_end(self, batch, logs=None):
        self.variables[0].assign_add(1)


def test_variables_of_callbacks_are_restored(compiled, digits, tmp_path):
    counts = []
    for kill in (KillAt(update=8), None):
        train, counter = Pipeline(digits, 256), Counter()
        scheduler = BatchSizeScheduler(train, lambda epoch, size: 256)
        checkpoint = Checkpoint(tmp_path, train, [counter, scheduler], minutes=0)
        callbacks = [counter, scheduler, checkpoint] + ([kill] if kill else [])
        model = compiled()
        first = checkpoint.restore(model)
        try:
            model.fit(train, epochs=2, initial_epoch=first, verbose=0, callbacks=callbacks)
        except Killed:
            pass
        counts.append(int(counter.variables[0]))
    assert counts == [8, 10]


@pytest.mark.slow
@pytest.mark.parametrize("shuffle", [True, pytest.param(False, marks=pytest.mark.release)])
def test_resume_of_a_stream_and_of_ordered_data(compiled, digits, tmp_path, shuffle):
    import tensorflow as tf

    source = tf.data.Dataset.from_tensor_slices(digits) if shuffle else digits
    weights = []
    for kill in (None, KillAt(update=8)):
        directory = tmp_path / str(bool(kill))

        def start(directory=directory):
            model = compiled(steps_per_execution=2)
            train = Pipeline(source, 256, shuffle=shuffle)
            scheduler = BatchSizeScheduler(train, lambda epoch, size: 256)
            checkpoint = Checkpoint(directory, train, [scheduler], minutes=0)
            return model, train, checkpoint, [scheduler, checkpoint]

        model, train, checkpoint, callbacks = start()
        if kill is not None:
            with pytest.raises(Killed):
                model.fit(train, epochs=2, verbose=0, callbacks=[*callbacks, kill])
            model, train, checkpoint, callbacks = start()
        first = checkpoint.restore(model)
        model.fit(train, epochs=2, initial_epoch=first, verbose=0, callbacks=callbacks)
        assert model.optimizer.iterations == (10 if shuffle else 12)
        weights.append(model.get_weights())
    for ours, value in zip(*weights, strict=True):
        np.testing.assert_array_equal(ours, value)


@pytest.mark.slow
def test_without_a_scheduler(compiled, digits, tmp_path):
    """Keras counts the steps itself, so checkpoints are written only at the ends of epochs."""
    weights = []
    for kill in (None, KillAt(update=14)):
        directory = tmp_path / str(bool(kill))
        for killer in (kill, None):
            model, train = compiled(), Pipeline(digits, 256)
            checkpoint = Checkpoint(directory, train, minutes=0)
            first = checkpoint.restore(model)
            callbacks = [checkpoint, killer] if killer else [checkpoint]
            arguments = dict(epochs=3, initial_epoch=first, verbose=0, callbacks=callbacks)
            if killer:
                with pytest.raises(Killed):
                    model.fit(train, **arguments)
            elif first < 3:
                model.fit(train, **arguments)
        assert model.optimizer.iterations == 15
        weights.append(model.get_weights())
        names = sorted(path.name for path in directory.iterdir())
        assert names == ["update_000000010.npz", "update_000000015.npz"]
    for ours, value in zip(*weights, strict=True):
        np.testing.assert_array_equal(ours, value)


@pytest.mark.release  # the gate: callback_state_test.py
def test_arguments_come_from_the_program_not_the_checkpoint(new_run, tmp_path):
    killed = new_run(tmp_path, sgd)
    with pytest.raises(Killed):
        killed.fit(KillAt(epoch=1))
    resumed = new_run(tmp_path, sgd)
    resumed.early.patience = 1
    resumed.early.min_delta = 100.0
    assert resumed.fit().epoch == [2]


def test_callbacks_that_the_checkpoint_does_not_have(compiled, digits, tmp_path):
    """Such as callbacks that a later version adds."""
    train = Pipeline(digits, 512)
    others = [keras.callbacks.EarlyStopping("loss")]
    compiled().fit(train, verbose=0, callbacks=[*others, Checkpoint(tmp_path, train, others)])

    def fit(callbacks):
        model, train = compiled(), Pipeline(digits, 512)
        checkpoint = Checkpoint(tmp_path, train, callbacks)
        first = checkpoint.restore(model)
        model.fit(train, epochs=2, initial_epoch=first, callbacks=[*callbacks, checkpoint])

    with pytest.raises(UserError, match="expected the EarlyStopping whose state it holds among"):
        fit([])
    early = keras.callbacks.EarlyStopping("loss")
    fit([keras.callbacks.ReduceLROnPlateau("loss"), early])


def test_bfloat16_weights(compiled, digits, tmp_path):
    train = Pipeline(digits, 512)
    scheduler = BatchSizeScheduler(train, lambda epoch, size: 512)
    checkpoint = Checkpoint(tmp_path, train, [scheduler])
    model = compiled(dtype="bfloat16")
    model.fit(train, verbose=0, callbacks=[scheduler, checkpoint])
    other = compiled(dtype="bfloat16", seed=1)
    assert other.weights[0].dtype == "bfloat16"
    assert Checkpoint(tmp_path, Pipeline(digits, 512)).restore(other) == 1
    for ours, value in zip(
        other.variables + other.optimizer.variables,
        model.variables + model.optimizer.variables,
        strict=True,
    ):
        np.testing.assert_array_equal(
            np.asarray(ours.numpy(), np.float64), np.asarray(value.numpy(), np.float64)
        )


@pytest.mark.release  # the gate: test_bfloat16_weights
def test_mixed_bfloat16(compiled, digits, tmp_path):
    policy = keras.DTypePolicy("mixed_bfloat16")
    train = Pipeline(digits, 512)
    scheduler = BatchSizeScheduler(train, lambda epoch, size: 512)
    checkpoint = Checkpoint(tmp_path, train, [scheduler])
    model = compiled(dtype=policy)
    model.fit(train, verbose=0, callbacks=[scheduler, checkpoint])
    other = compiled(dtype=policy, seed=1)
    assert Checkpoint(tmp_path, Pipeline(digits, 512)).restore(other) == 1
    for ours, value in zip(other.get_weights(), model.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, value)


@pytest.mark.release  # the gate: killed inside an epoch, on one device
def test_metrics_of_a_running_epoch_are_kept_for_each_replica(compiled, digits, mirrored, tmp_path):
    """Half of their sum would be rounded differently from each replica's value."""

    def start():
        with mirrored.scope():
            model = compiled()
        train = Pipeline(digits, 64)
        scheduler = BatchSizeScheduler(train, lambda epoch, size: size)
        return model, train, Checkpoint(tmp_path, train, [scheduler], minutes=0), scheduler

    def parts(model):
        values = [variable.value for variable in model.metrics_variables]
        return [
            part.numpy() for value in values for part in mirrored.experimental_local_results(value)
        ]

    model, train, checkpoint, scheduler = start()
    before = []
    look = keras.callbacks.LambdaCallback(
        on_train_batch_end=lambda batch, logs: before.append(parts(model))
    )
    with pytest.raises(Killed):
        callbacks = [scheduler, checkpoint, look, KillAt(update=5)]
        model.fit(train, verbose=0, callbacks=callbacks)
    assert any(a != b for a, b in zip(before[-1][::2], before[-1][1::2], strict=True))

    model, train, checkpoint, scheduler = start()
    checkpoint.restore(model)
    after = []
    look = keras.callbacks.LambdaCallback(
        on_train_batch_begin=lambda batch, logs: after.append(parts(model))
    )
    with pytest.raises(Killed):
        callbacks = [scheduler, checkpoint, look, KillAt(update=6)]
        model.fit(train, verbose=0, callbacks=callbacks)
    assert after[0] == before[-1]


def test_a_resume_inside_an_epoch_reads_and_computes_nothing(compiled, tmp_path):
    """A large batch would not fit into memory at once."""

    class Counted:
        reads = 0

        def __len__(self):
            return 40

        def __getitem__(self, place):
            self.reads += 1
            return np.zeros((8, 8, 1), np.uint8), np.int64(0)

    source = Counted()
    train = Pipeline(source, batch_size=40)
    saving = Checkpoint(tmp_path, train)
    saving.set_model(compiled())
    saving.model.train_on_batch(np.zeros((2, 8, 8, 1), np.uint8), np.zeros(2, np.int64))
    saving.save(epoch=2, step=1)
    model, source.reads = compiled(), 0
    assert Checkpoint(tmp_path, train.copy()).restore(model) == 2
    assert (source.reads, model.sizes()) == (0, [])
    assert len(model.metrics_variables) == len(saving.model.metrics_variables)


def test_a_model_with_loss_scaling_is_restored_in_the_process_that_saved_it(compiled, tmp_path):
    model = compiled(keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD(0.1, momentum=0.9)))
    saving = Checkpoint(tmp_path, Pipeline((np.zeros((4, 2)), np.zeros(4)), batch_size=2))
    saving.set_model(model)
    model.train_on_batch(np.ones((2, 8, 8, 1), np.uint8), np.ones(2, np.int64))
    before = [variable.numpy() for variable in model.optimizer.variables]
    saving.save(epoch=1, step=0)
    assert saving.restore(model) == 1
    after = [variable.numpy() for variable in model.optimizer.variables]
    assert all(np.array_equal(a, b) for a, b in zip(before, after, strict=True))
