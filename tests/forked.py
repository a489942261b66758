"""Real processes that start fast: forked from one that has already imported TensorFlow.

Importing takes longer than most tests train. A forked process has its own PID, devices, signal
handlers, memory and threads. It differs from `python -m lbkeras` only in how the interpreter starts
and ends; for each kind of test one starts a real process to cover that.
"""

import faulthandler
import multiprocessing
import os
import runpy
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[1]

_context = multiprocessing.get_context("forkserver")
_context.set_forkserver_preload(["tests.forked_imports"])


class Forked:
    """A running `python -m lbkeras ARGUMENTS`, or `python SCRIPT ARGUMENTS`.

    It has the part of `subprocess.Popen` that tests use: `pid`, `returncode`, `poll`, `wait`,
    `communicate`, `send_signal`, `kill`.

    Args:
        arguments: arguments of the command line or of the script.
        script: path of a Python program; None: the command line.
        environment: its whole environment; None: that of this process.
        output: file for standard output and standard error together; None: `communicate` returns
            both.
    """

    def __init__(self, *arguments, script=None, environment=None, output=None):
        self._files = []
        if output is None:
            self._files = [tempfile.NamedTemporaryFile("w+") for _ in range(2)]
        names = [file.name for file in self._files] or [str(output)] * 2
        self._process = _context.Process(
            target=_run,
            args=(
                [str(each) for each in arguments],
                None if script is None else str(script),
                dict(os.environ if environment is None else environment),
                names,
            ),
            daemon=True,
        )
        self._process.start()
        self.pid = self._process.pid

    @property
    def returncode(self):
        return self._process.exitcode

    def poll(self):
        return self._process.exitcode

    def wait(self, timeout=None):
        self._process.join(timeout)
        if self._process.exitcode is None:
            raise subprocess.TimeoutExpired(f"process {self.pid}", timeout)
        return self._process.exitcode

    def communicate(self, timeout=None):
        """Waits for the end; returns standard output and standard error."""
        self.wait(timeout)
        said = []
        for file in self._files:
            file.seek(0)
            said.append(file.read())
        return tuple(said)

    def send_signal(self, number):
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self):
        self.send_signal(signal.SIGKILL)


def run_program(source: str) -> str:
    """Returns what a program prints; raises an AssertionError with its stderr if it fails."""
    with tempfile.NamedTemporaryFile("w", suffix=".py") as file:
        file.write(source)
        file.flush()
        process = Forked(script=file.name)
        try:
            output, error = process.communicate(timeout=300)
        finally:
            process.kill()
    assert process.returncode == 0, error[-3000:]
    return output


def _run(arguments, script, environment, names):
    """Runs in the forked process."""
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(ROOT)
    for descriptor, name in zip((1, 2), names, strict=True):
        file = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(file, descriptor)
        os.close(file)
    sys.stdout = open(1, "w", closefd=False)
    sys.stderr = open(2, "w", buffering=1, closefd=False)
    faulthandler.enable()  # says where a crash was
    if script is None:
        from lbkeras.cli.main import run

        sys.argv = ["lbkeras", *arguments]
        run()
    else:
        sys.argv = [script, *arguments]
        runpy.run_path(script, run_name="__main__")
