"""Turns Ctrl-C and SIGTERM into exceptions, even where Python loses them."""

import contextlib
import os
import signal
import sys
import threading

_SECONDS_UNTIL_AGAIN = 0.02
_received: list[int] = []


class Terminated(KeyboardInterrupt):
    """Raised by SIGTERM where training does not catch the signal itself."""


@contextlib.contextmanager
def signals_as_exceptions():
    """Makes SIGINT raise `KeyboardInterrupt` and SIGTERM raise `Terminated` in this block.

    A signal that the process was started to ignore stays ignored. Python loses an exception that a
    handler raises inside a destructor or a garbage collector callback; the signal is then sent
    again.
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
    """Sends a signal again a moment later, outside that code, if Python lost its exception."""
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
    """Raises the exception of a signal that has arrived; call it between two pieces of work.

    An exception that a handler raises inside a destructor or a callback from C is lost; at most it
    is printed.
    """
    if _received:
        raise Terminated if _received[-1] == signal.SIGTERM else KeyboardInterrupt
