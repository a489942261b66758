"""Stderr while TensorFlow loads: notices are dropped, everything else passes."""

import os
import subprocess
import sys

import pytest

PROGRAM = """
import os, sys
from lbkeras.keras_internals.tensorflow_start import _filtered_stderr
with _filtered_stderr():
    os.write(2, b"WARNING: All log messages before absl::InitializeLog() is called ...\\n")
    os.write(2, b"I0000 00:00:1795217803.309462   19718 port.cc:153] oneDNN custom operations\\n")
    os.write(2, b"To enable the following instructions: AVX2, rebuild TensorFlow\\n")
    os.write(2, b"E0000 00:00:1795217803.309462   19718 x.cc:1] a real error\\n")
    print("a warning of Python", file=sys.stderr)
    {last}
print("afterwards", file=sys.stderr)
"""


def _stderr(last):
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM.format(last=last)], capture_output=True, text=True
    )
    return done.stderr.splitlines()


def test_only_notices_are_dropped():
    lines = _stderr("pass")
    assert lines[0].endswith("a real error")
    assert lines[1:] == ["a warning of Python", "afterwards"]


def test_an_exception_passes():
    assert _stderr("raise ImportError('no such library')")[-1] == "ImportError: no such library"


def test_the_message_of_an_abort_passes():
    lines = _stderr("os.write(2, b'F0000 needs AVX\\n'); sys.stderr.flush(); os.abort()")
    assert "F0000 needs AVX" in lines


@pytest.mark.release  # in the gate the two workers that tests/cli/multi_worker_test.py starts
def test_loading_tensorflow_prints_nothing():
    program = (
        "from lbkeras.keras_internals.tensorflow_start import load_tensorflow; load_tensorflow()"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


SCRIPT = """
import lbkeras, lbkeras.data
from lbkeras.callbacks import BatchSizeScheduler, TensorBoardScalars
lbkeras.data.load("digits"), lbkeras.optimizers.LARS, lbkeras.models.small_cnn
import sys
assert {"keras", "tensorflow"} < set(sys.modules)
assert not any(type(finder).__name__ == "_QuietTensorFlow" for finder in sys.meta_path)
"""


def _script(program, **environment):
    """Runs a script without any setting of TensorFlow in the environment."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("TF_")}
    command = [sys.executable, "-c", program]
    return subprocess.run(command, capture_output=True, text=True, env=kept | environment)


@pytest.mark.release  # as above
def test_a_command_that_reads_data_first_prints_nothing():
    """`lbkeras plan --probe` and `--auto` name the data before anything else loads TensorFlow."""
    done = _script("from lbkeras.runs.reading import reading_data; reading_data('digits')")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.release
def test_a_script_that_uses_lbkeras_prints_nothing():
    done = _script(SCRIPT)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.release
def test_every_message_is_shown_on_request():
    done = _script(SCRIPT, TF_CPP_MIN_LOG_LEVEL="0")
    assert done.returncode == 0
    assert "I0000 " in done.stderr  # a notice; which ones there are depends on the processor
