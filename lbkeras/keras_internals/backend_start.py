"""Finds the backend that Keras has, or will have once it is imported, and loads it."""

import importlib.util
import json
import os
import sys
from pathlib import Path

from lbkeras.errors import UserError
from lbkeras.keras_internals.tensorflow_start import load_tensorflow

BACKENDS = ("tensorflow", "jax")  # on which lbkeras can train


def backend_name() -> str:
    """Returns Keras' backend, such as "tensorflow" or "jax", also before Keras is imported.

    If JAX is installed, TensorFlow is not, and KERAS_BACKEND is not set, this chooses JAX: Keras
    would still look for TensorFlow and could not be imported.
    """
    keras = sys.modules.get("keras")
    if keras is not None and hasattr(keras, "config"):  # else it is just being imported
        return keras.config.backend()
    if "KERAS_BACKEND" not in os.environ:
        if is_installed("tensorflow") or not is_installed("jax"):
            return _of_the_file()
        os.environ["KERAS_BACKEND"] = "jax"  # Keras reads this, also in child processes
    return os.environ["KERAS_BACKEND"]


def load_backend() -> str:
    """Imports Keras and its backend and lists the devices; returns the backend's name.

    Raises:
        UserError: the backend is not one that lbkeras trains on, or it cannot be imported.
    """
    name = backend_name()
    if name not in BACKENDS:
        raise UserError(
            f"KERAS_BACKEND: expected {' or '.join(BACKENDS)}, on which lbkeras trains, received "
            f"{name!r}"
        )
    if name == "jax":
        _load_jax()
    elif is_installed("tensorflow"):
        load_tensorflow()
    else:
        instead = "; JAX is installed: KERAS_BACKEND=jax trains on it" if is_installed("jax") else (
            ", or jax with KERAS_BACKEND=jax"
        )  # fmt: skip
        raise UserError(
            f"tensorflow: expected it for Keras' TensorFlow backend (`pip install tensorflow`"
            f"{instead}), received an environment without it"
        )
    return name


def require_tensorflow(what: str) -> None:
    """Raises a UserError unless Keras' backend is TensorFlow.

    Args:
        what: the feature that needs it, as users name it: a flag, a callback.

    Raises:
        UserError: the backend is another one.
    """
    if (name := backend_name()) != "tensorflow":
        raise UserError(f"{what}: expected Keras' TensorFlow backend, received {name}")


def is_installed(package: str) -> bool:
    """Whether a package is installed; imports nothing."""
    return sys.modules.get(package) is not None or importlib.util.find_spec(package) is not None


def _load_jax() -> None:
    try:
        import jax

        jax.devices()
        import keras  # noqa: F401
    except Exception as error:  # a broken installation can raise almost anything
        raise UserError(
            "jax: expected one that can be imported and finds its devices, with Keras (`pip "
            f"install jax keras`), received {type(error).__name__}: {error}"
        ) from error


def _of_the_file() -> str:
    """Returns the backend set in Keras' config file; TensorFlow without one."""
    folder = Path(os.environ.get("KERAS_HOME") or Path("~/.keras").expanduser())
    try:
        return json.loads((folder / "keras.json").read_text())["backend"]
    except (OSError, ValueError, LookupError, TypeError):
        return "tensorflow"
