"""Signals as exceptions, including one that Python has lost."""

import gc
import signal
import time

import pytest

from lbkeras.cli.signals import Terminated, raise_if_received, signals_as_exceptions


@pytest.mark.parametrize(
    ("number", "expected"), [(signal.SIGINT, KeyboardInterrupt), (signal.SIGTERM, Terminated)]
)
def test_a_signal_raises_and_is_remembered(number, expected):
    before = signal.getsignal(number)
    with signals_as_exceptions():
        raise_if_received()  # nothing yet
        with pytest.raises(expected) as caught:
            signal.raise_signal(number)
            signal.getsignal(number)  # the handler has run by now
        assert caught.type is expected
        with pytest.raises(expected):  # as if a destructor had swallowed the first
            raise_if_received()
    assert signal.getsignal(number) is before
    with signals_as_exceptions():
        raise_if_received()  # the last block's signal is forgotten


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_ignored_signal_stays_ignored(number):
    before = signal.signal(number, signal.SIG_IGN)
    try:
        with signals_as_exceptions():
            signal.raise_signal(number)
            raise_if_received()
    finally:
        signal.signal(number, before)


class Destroyed:
    """Receives a signal in its destructor, where Python discards exceptions."""

    def __init__(self, number):
        self.number = number

    def __del__(self):
        signal.raise_signal(self.number)


def in_the_garbage_collector(number):
    """The same in a callback of the garbage collector, as every program with JAX has one."""

    def callback(phase, info):
        gc.callbacks.remove(callback)
        signal.raise_signal(number)

    gc.callbacks.append(callback)
    gc.collect()


@pytest.mark.parametrize("lose", [Destroyed, in_the_garbage_collector])
@pytest.mark.parametrize(
    ("number", "expected"), [(signal.SIGINT, KeyboardInterrupt), (signal.SIGTERM, Terminated)]
)
def test_a_signal_that_python_loses_raises_a_moment_later(number, expected, lose):
    with signals_as_exceptions(), pytest.raises(KeyboardInterrupt) as caught:
        lose(number)
        time.sleep(10)
    assert caught.type is expected
