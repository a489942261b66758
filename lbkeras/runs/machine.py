"""What a run was made with: versions and hardware, for the record."""

import importlib.metadata
import os
import platform
import sys

import lbkeras

_PACKAGES = (
    "tensorflow",
    "keras",
    "tensorflow-datasets",
    "importlib_resources",
    "tensorboard",
    "numpy",
    "scipy",
    "scikit-learn",
    "matplotlib",
    "absl-py",
    "ml-collections",
)


def versions() -> dict[str, str]:
    """The versions of Python, lbkeras and the packages that a result depends on."""
    found = {"lbkeras": lbkeras.__version__, "python": platform.python_version()}
    for package in _PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            found[package] = "missing"
    return found


def hardware() -> dict:
    """Processor, cores, memory in GB, and the accelerators that TensorFlow sees if it is loaded."""
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
    tensorflow = sys.modules.get("tensorflow")
    if tensorflow is None:
        return []
    devices = tensorflow.config.list_physical_devices()
    return [device.name for device in devices if device.device_type != "CPU"]
