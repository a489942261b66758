"""The versions and the hardware of a run, for its record."""

import importlib.metadata
import os
import platform
import sys

import lbkeras
from lbkeras.keras_internals.backend_start import backend_name

_OF_EACH = ("numpy", "scipy", "scikit-learn", "matplotlib", "absl-py", "ml-collections")
_PACKAGES = {
    "tensorflow": (
        "tensorflow",
        "keras",
        "tensorflow-datasets",
        "importlib_resources",
        "tensorboard",
        *_OF_EACH,
    ),
    "jax": ("jax", "jaxlib", "keras", "tensorboard", "google-crc32c", *_OF_EACH),
}


def versions() -> dict[str, str]:
    """Returns the versions of Python, lbkeras and the packages that a result depends on.

    Keras' backend decides which packages these are.
    """
    found = {"lbkeras": lbkeras.__version__, "python": platform.python_version()}
    for package in _PACKAGES.get(backend_name(), _PACKAGES["tensorflow"]):
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            found[package] = "missing"
    return found


def hardware() -> dict:
    """Returns processor, cores, memory in GB, and the accelerators that the loaded backend sees."""
    return {
        "machine": platform.machine(),
        "processor": _processor(),
        "cpu_count": os.cpu_count(),
        "memory_gb": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9, 1),
        "accelerators": _accelerators(),
    }


def _processor() -> str:
    try:
        with open("/proc/cpuinfo") as file:
            for line in file:
                if line.startswith("model name"):
                    return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.processor()


def _accelerators() -> list[str]:
    if backend_name() == "jax":
        jax = sys.modules.get("jax")
        devices = jax.devices() if jax is not None else []
        return [f"{d.device_kind} ({d.platform}:{d.id})" for d in devices if d.platform != "cpu"]
    tensorflow = sys.modules.get("tensorflow")
    if tensorflow is None:
        return []
    devices = tensorflow.config.list_physical_devices()
    return [device.name for device in devices if device.device_type != "CPU"]
