"""Callbacks, runs and commands on Keras' JAX backend without TensorFlow: one process for all."""

import ast
import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).with_name("jax_callbacks_script.py")
ROOT = Path(__file__).parents[2]
CHECKS = [
    node.name
    for node in ast.parse(SCRIPT.read_text()).body
    if isinstance(node, ast.FunctionDef) and node.name.startswith("check_")
]

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(importlib.util.find_spec("jax") is None, reason="jax is not installed"),
]


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory) -> dict[str, str]:
    environment = os.environ | {
        "JAX_PLATFORMS": "cpu",
        "PYTHONPATH": str(ROOT),
        # A run that is resumed has the step of the one that was stopped: compiled once for both.
        "JAX_COMPILATION_CACHE_DIR": str(tmp_path_factory.mktemp("compiled")),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
    }
    command = [sys.executable, SCRIPT]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-3000:]
    lines = [line for line in done.stdout.splitlines() if line.startswith('["check_')]
    return dict(map(json.loads, lines))


@pytest.mark.parametrize("name", CHECKS)
def test_on_jax_without_tensorflow(outcomes, name):
    assert outcomes[name] == "passed", outcomes[name]
