"""AutoWU restores weights, slots and statistics of an epoch's end, and nothing else."""

from pathlib import Path

import keras
import numpy as np
import pytest

from lbkeras.callbacks import (
    AutoWU,
    BatchSizeScheduler,
    Checkpoint,
    ConcurrentAdversarial,
    MicroBatches,
)
from lbkeras.data import Pipeline
from lbkeras.errors import UserError
from lbkeras.layers import GhostBatchNormalization
from lbkeras.methods.auto_wu import callback as auto_wu
from lbkeras.methods.auto_wu import epoch_copies
from lbkeras.methods.auto_wu.judgement import Judgement
from lbkeras.optimizers import LARS, AdamP
from lbkeras.planning import auto_wu_plan
from tests.distribution.workers import run_workers
from tests.methods.auto_wu.judgement_test import recorded


@pytest.fixture
def says(monkeypatch):
    """Returns a function that scripts the tests: the first epoch that votes, and the minimum."""

    def script(first_vote, minimum):
        def judge(epochs, state=None, seed=0):
            done = len(epochs)
            place = min(minimum / done, 1.0)
            mean = np.zeros(500)
            return Judgement(5 * (done >= first_vote), (place,) * 5, mean, mean + 0.1, [1.0])

        monkeypatch.setattr(auto_wu, "judge", judge)

    return script


class States(keras.callbacks.Callback):
    """Records all variables of model and optimizer at each epoch's end, by epochs done."""

    def on_train_begin(self, logs=None):
        self.after = {}

    def on_epoch_end(self, epoch, logs=None):
        self.after[epoch + 1] = [v.numpy() for v in (*self.model.variables, *self.optimizer())]

    def optimizer(self):
        return self.model.optimizer.variables


def network(optimizer, layer=keras.layers.BatchNormalization):
    keras.utils.set_random_seed(0)
    layers = [keras.Input((8, 8, 1)), keras.layers.Rescaling(1 / 16), keras.layers.Flatten()]
    layers += [keras.layers.Dense(8), layer(), keras.layers.Dropout(0.2), keras.layers.Dense(10)]
    model = keras.Sequential(layers)
    model.compile(optimizer, keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    return model


def fit(model, digits, restore=True, epochs=7, more=(), first=States):
    """Trains with AutoWU; the warm-up may take 6 epochs of 5 updates, `says` scripts the tests."""
    train = Pipeline(digits, 256)
    momentum = getattr(model.optimizer, "momentum", 0.0)
    plan = auto_wu_plan(epochs=12, batch_size=256, momentum=momentum, num_examples=1437)
    callback, before, after = AutoWU(train, plan, restore=restore), first(), first()
    callbacks = [*(each(train) for each in more), before, callback, after]
    history = model.fit(train, epochs=epochs, verbose=0, callbacks=callbacks).history
    return callback, before.after, after.after, history


OPTIMIZERS = {
    "Adam with averages": (lambda: keras.optimizers.Adam(use_ema=True), {}),
    "AdamP, micro-batches": (
        lambda: AdamP(1.0, weight_decay=0.1),
        dict(more=[lambda train: MicroBatches(train, 64)]),
    ),
    "LARS, ghosts": (lambda: LARS(0.1), {}),
    "loss scale": (
        lambda: keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD(), dynamic_growth_steps=7),
        {},
    ),
}


@pytest.mark.parametrize(
    "name",  # the gate runs only the first one
    [
        pytest.param(name, marks=pytest.mark.release if number else ())
        for number, name in enumerate(OPTIMIZERS)
    ],
)
def test_goes_back_to_the_state_at_an_epochs_end(digits, says, name):
    says(first_vote=3, minimum=3.2)
    make, more = OPTIMIZERS[name]
    layer = keras.layers.BatchNormalization
    if name == "LARS, ghosts":
        layer = lambda: GhostBatchNormalization(64)  # noqa: E731
    model = network(make(), layer)
    callback, before, after, history = fit(model, digits, **more)
    assert (callback.warmup_epochs, callback.restored_epoch) == (5, 3)
    for epoch in (1, 2, 3, 4, 6, 7):  # else it changes nothing
        assert all(map(np.array_equal, before[epoch], after[epoch]))
    went_back = 0
    for then, last, now in zip(before[3], before[5], after[5], strict=True):
        whole_number = then.dtype.kind in "iu"  # updates, the dropout's random state
        np.testing.assert_array_equal(now, last if whole_number else then)
        went_back += not whole_number and not np.array_equal(then, last)
    assert went_back >= 8  # kernels, biases, statistics, slots
    assert int(model.optimizer.iterations) == 35
    assert history["auto_wu_restored_epoch"] == [3, 3, 3]
    assert callback.copies == {}


@pytest.mark.release  # the gate: callback_test.py, the paper's form
def test_without_restore_the_state_stays(digits, says):
    """The paper's form keeps no copies; up to the switch it trains as with `restore=True`."""
    says(first_vote=3, minimum=3)
    trained = {}
    for restore in (True, False):
        optimizer = keras.optimizers.SGD(1.0, momentum=0.9)
        callback, *states, history = fit(network(optimizer), digits, restore)
        trained[restore] = callback, *states, history
    callback, before, after, history = trained[False]
    assert callback.restored_epoch is None and "auto_wu_restored_epoch" not in history
    assert all(map(np.array_equal, before[5], after[5]))
    (restored, theirs, back, _) = trained[True]
    for epoch in range(1, 6):
        assert all(map(np.array_equal, before[epoch], theirs[epoch]))
    assert not all(map(np.array_equal, after[5], back[5]))
    for name in ("warmup_epochs", "peak_learning_rate", "decisions"):
        assert getattr(callback, name) == getattr(restored, name)


@pytest.mark.release  # the gate: judgement_test.py
def test_without_a_vote_it_goes_nowhere(digits, says, capsys):
    says(first_vote=99, minimum=2)
    callback, before, after, history = fit(network(keras.optimizers.SGD(momentum=0.9)), digits)
    assert callback.warmup_epochs == 6 and callback.restored_epoch is None
    assert all(map(np.array_equal, before[6], after[6])) and callback.copies == {}
    assert "auto_wu_restored_epoch" not in history


def test_four_copies_are_kept_and_the_restored_epoch_is_printed(digits, says, capsys):
    says(first_vote=4, minimum=1)

    class Copies(States):
        def on_epoch_end(self, epoch, logs=None):
            self.after[epoch + 1] = sorted(self.callback.copies)

    train = Pipeline(digits, 256)
    plan = auto_wu_plan(epochs=12, batch_size=256, momentum=0.9, num_examples=1437)
    Copies.callback, copies = AutoWU(train, plan), Copies()
    callbacks = [Copies.callback, copies]
    model = network(keras.optimizers.SGD(momentum=0.9))
    model.fit(train, epochs=7, verbose=2, callbacks=callbacks)
    assert list(copies.after.values()) == [
        [1],
        [1, 2],
        [1, 2, 3],
        [1, 2, 3, 4],
        [1, 2, 3, 5],
        [],
        [],
    ]
    assert (
        "(the loss has passed its minimum), weights as at the end of epoch 1\n"
        in capsys.readouterr().out
    )


@pytest.mark.release  # the gate runs test_four_copies_are_kept: which of them is dropped
def test_the_minimum_is_among_the_copies():
    """In recorded warm-ups a copy is at most one epoch off; the last four often lack it."""
    apart, of_the_last = [], []
    for losses in recorded().values():
        state, kept, votes = None, [], 0
        for done in range(1, len(losses) + 1):
            judgement = auto_wu.judge(losses[:done], state)
            state, votes = judgement.state, (votes + 1) * judgement.is_positive
            minimum = epoch_copies.epoch_of(float(np.mean(judgement.minima)), done)
            kept.append(done)
            if len(kept) > epoch_copies.MOST:
                kept.remove(epoch_copies.superfluous(minimum, kept))
            if votes == 3:
                apart.append(abs(epoch_copies.nearest(minimum, kept) - minimum))
                of_the_last.append(max(0, done - 3 - minimum))
                break
    assert len(apart) >= 40 and max(apart) <= 1 and np.mean(apart) < 0.1
    assert np.mean(np.array(of_the_last) > 0) > 0.2


@pytest.mark.slow
@pytest.mark.release  # the gate tests one device's statistics, and Checkpoint's mean over replicas
def test_replicas_are_equal_again(digits, says, mirrored):
    """The copy replaces each replica's own statistics by their mean; then no replica differs."""
    says(first_vote=3, minimum=3)

    class EachReplica(States):
        def on_epoch_end(self, epoch, logs=None):
            self.after[epoch + 1] = [
                np.stack(mirrored.experimental_local_results(v.value))
                for v in (*self.model.variables, *self.optimizer())
            ]

    with mirrored.scope():
        model = network(AdamP(1.0))
    callback, before, after, _ = fit(model, digits, first=EachReplica)
    assert callback.restored_epoch == 3
    paths = [v.path for v in model.variables]
    moving = next(i for i, path in enumerate(paths) if path.endswith("moving_mean"))
    own = before[3][moving]
    assert not np.array_equal(own[0], own[1])
    np.testing.assert_allclose(after[3][moving][0], own.mean(axis=0), rtol=1e-6, atol=1e-7)
    for now, then in zip(after[5], after[3], strict=True):
        np.testing.assert_array_equal(now[0], now[1])
        if now.dtype.kind == "f":
            np.testing.assert_array_equal(now, then)


@pytest.mark.release  # like replicas
def test_two_workers_restore_the_same(tmp_path):
    script = Path(__file__).with_name("restore_workers_script.py")
    first, second = run_workers(script, tmp_path, "multi_worker", num_workers=2)
    assert first["restored"] == second["restored"] == 3
    numbers = [int(name.split()[-1]) for name in first if name.startswith("after 5: ")]
    assert len(numbers) >= 8
    for number in numbers:
        now, then = (first[f"after {epoch}: {number}"] for epoch in (5, 3))
        np.testing.assert_array_equal(now, then)
        np.testing.assert_array_equal(now, second[f"after 5: {number}"])


class Killed(Exception):
    pass


def start(digits, folder):
    """Returns a model and the checkpoint of a run that, at update 25, restores update 15."""
    keras.backend.clear_session(free_memory=False)
    model, train = network(keras.optimizers.Adam()), Pipeline(digits, 256, seed=5)
    plan = auto_wu_plan(epochs=12, batch_size=256, momentum=0.0, num_examples=1437)
    scheduler = BatchSizeScheduler(train, lambda epoch, size: size)
    return model, Checkpoint(folder, train, [scheduler, AutoWU(train, plan), States()], minutes=0)


def fit_from(model, checkpoint, kill=None):
    def end_of_batch(batch, logs):
        if int(model.optimizer.iterations) == kill:
            raise Killed

    first = checkpoint.restore(model)
    killer = keras.callbacks.LambdaCallback(on_train_batch_end=end_of_batch)
    callbacks = [*checkpoint.callbacks, checkpoint, killer]
    arguments = dict(epochs=7, initial_epoch=first, verbose=0, callbacks=callbacks)
    history = model.fit(checkpoint.pipeline, **arguments).history
    return checkpoint.callbacks[1], checkpoint.callbacks[2].after[7], history


@pytest.mark.parametrize(
    "kill",  # inside an epoch with two copies; before any copy, at the switch, after it
    [13, *(pytest.param(kill, marks=pytest.mark.release) for kill in (4, 20, 25, 27))],
)
@pytest.mark.slow
def test_a_killed_and_resumed_run_restores_the_same_state(digits, says, tmp_path, kill):
    says(first_vote=3, minimum=3)
    expected, state, rows = fit_from(*start(digits, tmp_path / "whole"))
    with pytest.raises(Killed):
        fit_from(*start(digits, tmp_path / "killed"), kill)
    model, checkpoint = start(digits, tmp_path / "killed")
    callback, resumed_state, history = fit_from(model, checkpoint)
    assert callback.restored_epoch == expected.restored_epoch == 3
    for name, values in history.items():
        assert values == rows[name][len(rows[name]) - len(values) :], name
    for ours, theirs in zip(resumed_state, state, strict=True):
        np.testing.assert_array_equal(ours, theirs)


# Errors.


def test_restore_is_a_flag(digits):
    plan = auto_wu_plan(epochs=12, batch_size=256, momentum=0.9, num_examples=1437)
    with pytest.raises(UserError, match="restore: expected .*received 'minimum'"):
        AutoWU(Pipeline(digits, 256), plan, restore="minimum")


def test_adversarial_copies_go_back_too(digits):
    """Stale weights that are NaN would make the inputs of every later step NaN."""
    model = network(keras.optimizers.SGD(0.1))
    beside = ConcurrentAdversarial(Pipeline(digits, 256), 1.0)
    beside.set_model(model)
    assert beside.variables
    state = epoch_copies.read_state(model)
    before = [v.numpy() for v in beside.variables]
    for variable in beside.variables:
        variable.assign(variable.numpy() * np.nan)
    epoch_copies.write_state(model, state)
    assert all(map(np.array_equal, before, [v.numpy() for v in beside.variables]))
    beside.on_train_end()


def test_the_best_weights_are_kept_before_the_model_goes_back(digits, tmp_path):
    """After AutoWU, they would pair the best epoch's loss with an earlier epoch's weights."""
    train = Pipeline(digits, 256)
    plan = auto_wu_plan(epochs=12, batch_size=256, momentum=0.0, num_examples=1437)
    for keeps in (
        keras.callbacks.EarlyStopping("loss", restore_best_weights=True),
        keras.callbacks.ModelCheckpoint(tmp_path / "best.keras", "loss", save_best_only=True),
    ):
        model = network(keras.optimizers.SGD())
        with pytest.raises(UserError, match=f"expected {type(keeps).__name__}, .* before AutoWU"):
            model.fit(train, verbose=0, callbacks=[AutoWU(train, plan), keeps])
        assert int(model.optimizer.iterations) == 0
        assert isinstance(model.optimizer.learning_rate, keras.Variable)  # nothing is left behind
    model.fit(train, verbose=0, callbacks=[keeps, AutoWU(train, plan)])
    model.fit(train, verbose=0, callbacks=[AutoWU(train, plan, restore=False), keeps])
