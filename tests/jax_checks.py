"""Runs a script of checks on Keras' JAX backend in its own process."""

import ast
import importlib.util
import json
import os
import subprocess
import sys
import tempfile
import traceback
from pathlib import Path

import pytest

MARKS = [
    pytest.mark.slow,
    pytest.mark.skipif(importlib.util.find_spec("jax") is None, reason="jax is not installed"),
]
_ROOT = Path(__file__).parents[1]


def script(test_file: str, name: str) -> Path:
    """Returns the path of a script in the folder of a test file."""
    return Path(test_file).with_name(name)


def names(path: Path) -> list[str]:
    """Returns the names of a script's checks: its functions `check_...`."""
    functions = [n for n in ast.parse(path.read_text()).body if isinstance(n, ast.FunctionDef)]
    return [each.name for each in functions if each.name.startswith("check_")]


def run(checks: dict, names: list[str]) -> None:
    """Runs checks in a script's process, each with an empty folder, and prints their outcomes.

    Args:
        checks: the script's `globals()`.
        names: of the functions to run, each taking a folder.
    """
    for name in names:
        with tempfile.TemporaryDirectory() as folder:
            try:
                checks[name](Path(folder))
                said = "passed"
            except BaseException:
                said = traceback.format_exc()
            print(json.dumps([name, said]), flush=True)


def outcomes(path: Path, *arguments, **environment: str) -> dict[str, str]:
    """Runs a script, which prints JSON; returns for each check "passed" or the error raised."""
    done = subprocess.run(
        [sys.executable, path, *map(str, arguments)],
        env=os.environ | {"JAX_PLATFORMS": "cpu", "PYTHONPATH": str(_ROOT)} | environment,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    lines = [line for line in done.stdout.splitlines() if line.startswith('["check_')]
    return dict(map(json.loads, lines))
