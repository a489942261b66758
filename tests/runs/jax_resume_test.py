"""Runs that are killed on JAX end like undisturbed ones, bit for bit."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("jax") is None, reason="jax is not installed"
)


# In the gate, tests/callbacks/jax_callbacks_test.py stops a run with a signal.
@pytest.mark.release
@pytest.mark.parametrize("name", ["growing_batch", "batch_norm_and_dropout", "adaptive_batch"])
def test_killed_with_sigkill(name, tmp_path):
    command = [sys.executable, "tools/check_resume.py", "--kills=2", f"--only={name}"]
    done = subprocess.run(
        [*command, f"--folder={tmp_path}"],
        cwd=ROOT,
        env=os.environ | {"KERAS_BACKEND": "jax", "JAX_PLATFORMS": "cpu"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "2 of 2 end with the same weights" in done.stdout
