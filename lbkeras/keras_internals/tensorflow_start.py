"""Loads TensorFlow without its start-up notices, so that standard error is left to real errors."""

import contextlib
import logging
import os
import subprocess
import sys

from lbkeras.errors import UserError

# TensorFlow prints these before it obeys any log level: oneDNN and CPU notices, and that CUDA
# cannot start, which is no error on a machine without an NVIDIA device.
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


def load_tensorflow() -> None:
    """Imports TensorFlow and Keras and lists the devices; only notices are dropped from stderr.

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
            "KERAS_BACKEND: expected tensorflow, on which the lbkeras command trains, received "
            f"{backend!r}"
        )
    with _filtered_stderr():
        try:
            import tensorflow as tf

            tf.config.list_physical_devices()
            import keras  # noqa: F401
        except Exception as error:  # a broken installation raises nearly anything
            raise UserError(
                "tensorflow: expected one that can be imported, with Keras (`pip install "
                f"tensorflow keras`), received {type(error).__name__}: {error}"
            ) from error


# The first comes when a process trains several models; each has its own train function. The second
# for each convolution of stacked nodes.
_EXPECTED = ("triggered tf.function retracing", "uses a while_loop. Fix that!")


def _says_something(record: logging.LogRecord) -> bool:
    return not any(message in record.getMessage() for message in _EXPECTED)


@contextlib.contextmanager
def _filtered_stderr():
    """Sends file descriptor 2 through a process of its own, which outlives an abort of this one."""
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
