"""Real processes without their start: forked from one that has imported TensorFlow already.

Importing takes longer than what most tests train. A forked process has a number, devices, signal
handlers, memory and threads of its own; it differs from `python -m lbkeras` in how the interpreter
starts and ends, which one test of each kind shows with a process that is started.
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

    It has what tests use of `subprocess.Popen`: `pid`, `returncode`, `poll`, `wait`, `communicate`,
    `send_signal`, `kill`.

    Args:
        arguments: of the command line, or of the script.
        script: path of a Python program; None: the command line.
        environment: its whole environment; None: this process' one.
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
        """Its standard output and standard error, once it has ended."""
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
    """What the program prints; an AssertionError with its standard error where it fails."""
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
    """In the forked process."""
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
