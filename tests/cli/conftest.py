"""Runs the command line in this process and as real processes."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from lbkeras.cli.main import main
from tests.forked import Forked

ROOT = Path(__file__).resolve().parents[2]
SMITH = str(ROOT / "configs/papers/smith2018.py")


@pytest.fixture
def smith():
    """The path of configs/papers/smith2018.py."""
    return SMITH


@pytest.fixture
def fails(capsys):
    """Runs a command that must fail as a user error, and returns its message."""

    def run(*arguments):
        status = main([str(argument) for argument in arguments])
        error = capsys.readouterr().err
        assert status == 2
        assert error.startswith("lbkeras: error: ")
        assert error.count("\n") == 1 and error.endswith("\n"), error
        return error.removeprefix("lbkeras: error: ").rstrip("\n")

    return run


@pytest.fixture
def succeeds(capsys):
    """Runs a command that must succeed, and returns what it prints."""

    def run(*arguments):
        status = main([str(argument) for argument in arguments])
        output = capsys.readouterr()
        assert status == 0, output.err
        return output.out

    return run


@pytest.fixture
def process():
    """Starts `python -m lbkeras` with the arguments; kills what still runs at the end."""

    def start(*arguments):
        return subprocess.Popen(
            [sys.executable, "-m", "lbkeras", *map(str, arguments)],
            cwd=ROOT,
            env=os.environ | {"PYTHONPATH": str(ROOT)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    yield from _ended(start)


@pytest.fixture
def forked():
    """Like `process`, but forked from one that has imported TensorFlow; see `tests.forked`."""
    yield from _ended(Forked)


def _ended(start):
    started = []
    yield lambda *arguments: started.append(start(*arguments)) or started[-1]
    for each in started:
        each.kill()
        each.communicate()


TINY = (f"--config={SMITH}:digits", "--arm=large_batch_naive", "--config.plan.epochs=3",
        "--config.plan.boundaries=(1,2)", "--config.plan.learning_rate=0.01")  # fmt: skip


@pytest.fixture(scope="session")
def finished_run(tmp_path_factory):
    """The folder of a finished run of TINY; read it only."""
    folder = tmp_path_factory.mktemp("finished") / "run"
    assert main(["train", *TINY, f"--workdir={folder}"]) == 0
    return folder


@pytest.fixture
def tiny():
    """The flags of a run of three epochs and 30 updates."""
    return TINY


@pytest.fixture
def run_copy(finished_run, tmp_path):
    """A copy of the finished run that a test may damage."""
    return shutil.copytree(finished_run, tmp_path / "run")
