"""Loads TensorFlow without its start-up notices, so that stderr shows only real errors."""

import contextlib
import glob
import importlib.abc
import importlib.machinery
import logging
import os
import subprocess
import sys
from pathlib import Path

from lbkeras.errors import UserError

# TensorFlow prints these before any log level takes effect: oneDNN and CPU notices, and that CUDA
# cannot start, which is not an error on a machine without an NVIDIA device.
_FILTER = r"""
import os, re, sys
notice = re.compile(rb"[IW]\d{4} |WARNING: All log messages before absl::InitializeLog"
                    rb"|To enable the following instructions:")
no_device = not os.path.exists("/dev/nvidiactl")
for line in sys.stdin.buffer:
    if not (notice.match(line) or no_device and b"cuInit" in line):
        sys.stderr.buffer.write(line)
        sys.stderr.buffer.flush()
"""

_ACCELERATORS = ("/dev/nvidia*", "/dev/accel*", "/dev/dxg", "/dev/kfd")  # NVIDIA, TPU, WSL, AMD


def load_tensorflow() -> None:
    """Imports TensorFlow and Keras and lists the devices, without start-up notices on stderr.

    `backend_start.load_backend` loads whichever backend the user has chosen.

    Raises:
        UserError: TensorFlow cannot be imported, or KERAS_BACKEND names another backend.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    logging.getLogger("tensorflow").addFilter(_says_something)
    if "tensorflow" in sys.modules:
        return
    backend = os.environ.get("KERAS_BACKEND", "tensorflow")
    if backend != "tensorflow":
        raise UserError(
            f"KERAS_BACKEND: expected tensorflow, which this requires, received {backend!r}"
        )
    with _filtered_stderr():
        try:
            import tensorflow as tf

            tf.config.list_physical_devices()
            import keras  # noqa: F401
        except Exception as error:  # a broken installation can raise almost anything
            raise UserError(
                "tensorflow: expected one that can be imported, with Keras (`pip install "
                f"tensorflow keras`), received {type(error).__name__}: {error}"
            ) from error


# Harmless warnings: the first appears when a process trains several models, each with its own train
# function, the second for each convolution of stacked nodes.
_EXPECTED = ("triggered tf.function retracing", "uses a while_loop. Fix that!")


def _says_something(record: logging.LogRecord) -> bool:
    return not any(message in record.getMessage() for message in _EXPECTED)


@contextlib.contextmanager
def without_notices():
    """Drops TensorFlow's notices from stderr if an import in this context loads TensorFlow.

    Changes no settings. Does nothing if the environment asks for every message
    (TF_CPP_MIN_LOG_LEVEL=0) or the program is not a Python that can start another one.
    """
    wanted = os.environ.get("TF_CPP_MIN_LOG_LEVEL") == "0"
    python = "python" in Path(sys.executable or "").name and not getattr(sys, "frozen", False)
    if "tensorflow" in sys.modules or wanted or not python or sys.stderr is None:
        yield
        return
    finder = _QuietTensorFlow()
    sys.meta_path.insert(0, finder)
    try:
        yield
    finally:
        sys.meta_path.remove(finder)


class _QuietTensorFlow(importlib.abc.MetaPathFinder):
    """Finds TensorFlow as usual, and filters stderr while it is loaded."""

    def find_spec(self, name, path, target=None):
        if name != "tensorflow":
            return None
        spec = importlib.machinery.PathFinder.find_spec(name, path, target)
        if spec is not None and spec.loader is not None:
            load = spec.loader.exec_module

            def load_quietly(module):
                with _filtered_stderr():
                    load(module)
                    # Listing the devices makes CUDA report that it cannot start. Without an
                    # accelerator this fixes no choice of devices.
                    if sys.platform == "linux" and not any(map(glob.glob, _ACCELERATORS)):
                        module.config.list_physical_devices("GPU")

            spec.loader.exec_module = load_quietly
        return spec


@contextlib.contextmanager
def _filtered_stderr():
    """Pipes file descriptor 2 through a separate process, which outlives an abort of this one."""
    sys.stderr.flush()
    kept = os.dup(2)
    reader = subprocess.Popen(
        [sys.executable, "-S", "-E", "-c", _FILTER], stdin=subprocess.PIPE, start_new_session=True
    )
    os.dup2(reader.stdin.fileno(), 2)
    try:
        yield
    finally:
        sys.stderr.flush()
        os.dup2(kept, 2)
        os.close(kept)
        reader.stdin.close()
        reader.wait(timeout=10)
