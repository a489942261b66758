"""`--memory_limit_mb`: reports in one line that a process died because memory ran out."""

import contextlib
import ctypes
import os
import signal
import sys

# The signals that end TensorFlow where it does not check an allocation.
_DEATHS = (signal.SIGABRT, signal.SIGSEGV, signal.SIGBUS, signal.SIGILL, signal.SIGFPE)
_FORWARDED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_SET_PARENT_DEATH_SIGNAL = 1  # of Linux' prctl


def guarded(main, arguments: list[str]) -> int:
    """Calls `main(arguments)`, in a child process if memory is limited.

    Args:
        main: the command line; TensorFlow must not have been imported yet.
        arguments: its arguments.

    Returns:
        The status of `main`; 2, after printing one line, if memory is limited and a signal of a
        failed allocation ended the child process.
    """
    given = [a.lstrip("-") for a in arguments if a.lstrip("-").startswith("memory_limit_mb")]
    if not given or given == ["memory_limit_mb=0"]:
        return main(arguments)
    sys.stdout.flush()
    sys.stderr.flush()
    # The signals are blocked and taken by sigwait: a handler would not run for a signal that
    # arrives right before the call that waits for the child.
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    heard = {each for each in _FORWARDED if signal.getsignal(each) != signal.SIG_IGN}
    own = signal.pthread_sigmask(signal.SIG_BLOCK, {*heard, signal.SIGCHLD})
    child = os.fork()
    if not child:
        signal.pthread_sigmask(signal.SIG_SETMASK, own)
        os.setpgid(0, 0)  # Ctrl-C then reaches only the parent, which forwards it once
        if sys.platform == "linux":
            ctypes.CDLL(None).prctl(_SET_PARENT_DEATH_SIGNAL, signal.SIGKILL)
        return main(arguments)
    status = _wait(child, {*heard, signal.SIGCHLD})
    signal.pthread_sigmask(signal.SIG_SETMASK, own)
    if status >= 0:
        return status
    if -status in _DEATHS:
        print(
            "lbkeras: error: --memory_limit_mb: expected a limit that the run fits in, received "
            f"{given[-1]}, under which the process died of {signal.Signals(-status).name}; raise "
            "it, or lower --micro_batch_size or data.test_batch_size",
            file=sys.stderr,
        )
        return 2
    with contextlib.suppress(OSError):  # SIGKILL has no handler
        signal.signal(-status, signal.SIG_DFL)
    os.kill(os.getpid(), -status)
    return 128 - status


def _wait(child: int, blocked: set[signal.Signals]) -> int:
    """Waits for the child and returns its status; forwards the blocked signals to it."""
    while True:
        number = signal.sigwait(blocked)
        if number != signal.SIGCHLD:
            os.kill(child, number)
            continue
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status)
