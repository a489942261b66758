"""Ctrl-C and SIGTERM as exceptions, also where Python loses one."""

import contextlib
import os
import signal
import sys
import threading

_SECONDS_UNTIL_AGAIN = 0.02
_received: list[int] = []


class Terminated(KeyboardInterrupt):
    """SIGTERM, where training does not catch it itself."""


@contextlib.contextmanager
def signals_as_exceptions():
    """In this block SIGINT raises `KeyboardInterrupt` and SIGTERM `Terminated`.

    One that the process was started to ignore stays ignored. Python loses what a handler raises
    inside a destructor or a callback of the garbage collector; the signal then comes again.
    """
    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread may set handlers
        return

    def stop(number, frame):
        _received.append(number)
        raise_if_received()

    _received.clear()
    numbers = (signal.SIGINT, signal.SIGTERM)
    heard = [number for number in numbers if signal.getsignal(number) != signal.SIG_IGN]
    before = {number: signal.signal(number, stop) for number in heard}
    try:
        with _lost_ones_sent_again():
            yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextlib.contextmanager
def _lost_ones_sent_again():
    """A signal whose exception Python lost comes again a moment later, outside of that code."""
    timers = []

    def again(lost):
        if _received and isinstance(lost.exc_value, KeyboardInterrupt):
            number = _received[-1]
            timers.append(threading.Timer(_SECONDS_UNTIL_AGAIN, os.kill, (os.getpid(), number)))
            timers[-1].daemon = True
            timers[-1].start()
        else:
            before(lost)

    before, sys.unraisablehook = sys.unraisablehook, again
    try:
        yield
    finally:
        sys.unraisablehook = before
        for timer in timers:
            timer.cancel()
            timer.join()


def raise_if_received() -> None:
    """Raises the exception of a signal that has come, for a place between two pieces of work.

    What a handler raises inside a destructor or a callback from C is printed at most, and lost.
    """
    if _received:
        raise Terminated if _received[-1] == signal.SIGTERM else KeyboardInterrupt
