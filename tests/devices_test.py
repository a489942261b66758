"""Each check runs in its own process: devices can be split only before TensorFlow starts."""

import subprocess
import sys

import pytest

from lbkeras.devices import configure_devices
from lbkeras.errors import UserError
from tests.forked import run_program


@pytest.mark.parametrize(
    "arguments, message",
    [
        (dict(num_logical_devices=0), "num_logical_devices: expected at least 1, received 0"),
        (dict(memory_limit_mb=-1), "memory_limit_mb: expected at least 0, received -1"),
    ],
)
def test_numbers_out_of_range(arguments, message):
    with pytest.raises(UserError, match=message):
        configure_devices(**arguments)


# In the gate, tests/cli/plan_test.py covers this: its --probe finds what fits.
@pytest.mark.release
def test_logical_cpus_and_a_memory_limit_that_holds():
    script = """
from concurrent.futures import ThreadPoolExecutor
from lbkeras.devices import configure_devices
configure_devices(num_logical_devices=3, memory_limit_mb=64)
import tensorflow as tf
configure_devices(num_logical_devices=3, memory_limit_mb=64)  # the same again is allowed
print(len(tf.config.list_logical_devices("CPU")))
tf.zeros(4_000_000)  # 16 MB
def too_large(device):
    try:
        with tf.device(device):
            tf.zeros(20_000_000)  # 80 MB
    except tf.errors.ResourceExhaustedError:
        return "exhausted"
with ThreadPoolExecutor() as threads:  # TensorFlow waits 10 s for each
    print(*threads.map(too_large, ("CPU:0", "CPU:2")))
"""
    # Not forked: a memory limit must be set before TensorFlow is imported.
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert run.stdout.split() == ["3", "exhausted", "exhausted"], run.stderr


@pytest.mark.slow
def test_too_late():
    arguments = ("num_logical_devices", 2), ("memory_limit_mb", 64)
    script = f"""
import tensorflow as tf
tf.zeros(1)
from lbkeras.devices import configure_devices
from lbkeras.errors import UserError
for argument in {arguments}:
    try:
        configure_devices(**dict([argument]))
    except UserError as error:
        print(error)
"""
    lines = run_program(script).splitlines()
    for (name, _), line in zip(arguments, lines, strict=True):
        assert line.startswith(f"{name}: expected to be set before TensorFlow")
