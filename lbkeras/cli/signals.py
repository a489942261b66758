"""Ctrl-C and SIGTERM as exceptions, also where Python loses one."""

import contextlib
import signal
import threading

_received: list[int] = []


class Terminated(KeyboardInterrupt):
    """SIGTERM, where training does not catch it itself."""


@contextlib.contextmanager
def signals_as_exceptions():
    """In this block SIGINT raises `KeyboardInterrupt` and SIGTERM `Terminated`.

    A SIGINT that the process was started to ignore stays ignored.
    """
    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread may set handlers
        return

    def stop(number, frame):
        _received.append(number)
        raise_if_received()

    _received.clear()
    numbers = [signal.SIGTERM]
    if signal.getsignal(signal.SIGINT) != signal.SIG_IGN:
        numbers.append(signal.SIGINT)
    before = {number: signal.signal(number, stop) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def raise_if_received() -> None:
    """Raises the exception of a signal that has come, for a place between two pieces of work.

    What a handler raises inside a destructor or a callback from C is printed at most, and lost.
    """
    if _received:
        raise Terminated if _received[-1] == signal.SIGTERM else KeyboardInterrupt
