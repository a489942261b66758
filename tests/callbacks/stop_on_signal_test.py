import os
import signal

import keras
import numpy as np
import pytest

from lbkeras.callbacks import BatchSizeScheduler, Checkpoint, Interrupted, StopOnSignal
from lbkeras.data import Pipeline

BOTH = (signal.SIGINT, signal.SIGTERM)


class SendSignal(keras.callbacks.Callback):
    def __init__(self, number, update=None, in_evaluation=False):
        super().__init__()
        self.number, self.update, self.in_evaluation = number, update, in_evaluation

    def on_train_batch_end(self, batch, logs=None):
        if int(self.model.optimizer.iterations) == self.update:
            os.kill(os.getpid(), self.number)

    def on_test_end(self, logs=None):
        if self.in_evaluation:
            os.kill(os.getpid(), self.number)


def start(compiled, digits, directory):
    model, train = compiled(), Pipeline(digits, 256)
    scheduler = BatchSizeScheduler(train, lambda epoch, size: size)
    checkpoint = Checkpoint(directory, train, [scheduler])
    return model, train, checkpoint, [scheduler, checkpoint, StopOnSignal(checkpoint)]


def fit(model, train, callbacks, send=None, **arguments):
    callbacks = [*callbacks[:1], *([send] if send else []), *callbacks[1:]]
    with callbacks[-1].catching():
        model.fit(train, epochs=2, verbose=0, callbacks=callbacks, **arguments)


@pytest.fixture
def handlers():
    """Sets the test's own handlers, which must be restored afterwards."""

    def unexpected(number, frame):
        raise AssertionError(f"signal {number} came through")

    before = {number: signal.signal(number, unexpected) for number in BOTH}
    yield unexpected
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("number", BOTH)
@pytest.mark.parametrize("update, name", [(3, "3"), (5, "5"), (10, "10")])
def test_saves_and_stops(compiled, digits, tmp_path, handlers, number, update, name):
    """In the middle of an epoch, at its last step, and at the last step of the run."""
    model, train, checkpoint, callbacks = start(compiled, digits, tmp_path / "run")
    with pytest.raises(Interrupted) as caught:
        fit(model, train, callbacks, SendSignal(number, update))
    assert caught.value.signal_number == number
    assert str(caught.value) == f"interrupted by {number.name}"
    assert model.optimizer.iterations == update
    assert [signal.getsignal(each) for each in BOTH] == [handlers] * 2
    newest = sorted((tmp_path / "run").iterdir())[-1]
    assert newest.name == f"update_{update:09d}.npz"


def test_resumes_to_the_same_weights(compiled, digits, tmp_path, handlers):
    model, train, _, callbacks = start(compiled, digits, tmp_path / "whole")
    fit(model, train, callbacks)
    stopped, train, _, callbacks = start(compiled, digits, tmp_path / "run")
    with pytest.raises(Interrupted):
        fit(stopped, train, callbacks, SendSignal(signal.SIGTERM, 8))
    resumed, train, checkpoint, callbacks = start(compiled, digits, tmp_path / "run")
    fit(resumed, train, callbacks, initial_epoch=checkpoint.restore(resumed))
    assert resumed.optimizer.iterations == 10
    for ours, expected in zip(resumed.get_weights(), model.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, expected)


def test_a_signal_during_evaluation(compiled, digits, tmp_path, handlers):
    model, train, _, callbacks = start(compiled, digits, tmp_path / "run")
    send = SendSignal(signal.SIGINT, in_evaluation=True)
    with pytest.raises(Interrupted):
        fit(model, train, callbacks, send, validation_data=digits)
    assert model.optimizer.iterations == 5
    assert [p.name for p in (tmp_path / "run").iterdir()] == ["update_000000005.npz"]


def test_a_second_signal_acts_at_once(compiled, digits, tmp_path):
    received = []
    before = {n: signal.signal(n, lambda number, frame: received.append(number)) for n in BOTH}
    try:
        model, train, _, callbacks = start(compiled, digits, tmp_path)
        with callbacks[-1].catching():
            os.kill(os.getpid(), signal.SIGINT)
            assert received == []
            os.kill(os.getpid(), signal.SIGINT)
            assert received == [signal.SIGINT]
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def test_the_same_callback_in_a_second_fit(compiled, digits, tmp_path, handlers):
    model, train, _, callbacks = start(compiled, digits, tmp_path)
    with pytest.raises(Interrupted):
        fit(model, train, callbacks, SendSignal(signal.SIGINT, 5))
    fit(model, train, callbacks)
    assert model.optimizer.iterations == 15


def test_a_signal_that_fit_did_not_see_acts_afterwards(compiled, digits, tmp_path):
    received = []
    before = {n: signal.signal(n, lambda number, frame: received.append(number)) for n in BOTH}
    try:
        callback = StopOnSignal(Checkpoint(tmp_path, Pipeline(digits, 256)))
        with callback.catching():
            os.kill(os.getpid(), signal.SIGTERM)
            assert received == []
        assert received == [signal.SIGTERM]
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@pytest.mark.parametrize("ignored, heard", [BOTH, BOTH[::-1]])
def test_an_ignored_signal_stays_ignored(compiled, digits, tmp_path, handlers, ignored, heard):
    signal.signal(ignored, signal.SIG_IGN)
    callback = StopOnSignal(Checkpoint(tmp_path, Pipeline(digits, 256)))
    with callback.catching():
        os.kill(os.getpid(), ignored)
        assert callback._received is None
        assert signal.getsignal(heard) is not handlers
    assert signal.getsignal(ignored) == signal.SIG_IGN
