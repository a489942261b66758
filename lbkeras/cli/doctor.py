"""`lbkeras doctor`: shows versions, devices, data sets and what is missing."""

import glob
import os
from pathlib import Path

from lbkeras.cli.command_flags import CommandFlags
from lbkeras.errors import UserError, one_line
from lbkeras.keras_internals.backend_start import BACKENDS, backend_name, is_installed, load_backend
from lbkeras.runs import machine

HELP = """lbkeras doctor: shows backend, versions, devices, data sets and what is missing

examples:
  lbkeras doctor
  lbkeras doctor --data_dir=$HOME/tensorflow_datasets
  KERAS_BACKEND=jax lbkeras doctor

The exit status is 1 if something that lbkeras needs is missing or broken.
"""


def define_flags(command: CommandFlags) -> None:
    command.path("data_dir", "Folder of prepared TensorFlow Datasets data.")


def main(arguments: list[str]) -> int:
    command = CommandFlags(HELP, arguments)
    define_flags(command)
    flags = command.parse()
    backend = backend_name()
    versions = machine.versions()
    missing = [name for name, version in versions.items() if version == "missing"]
    print(f"backend\n  {backend}{_others(backend)}")
    print("versions")
    for name, version in versions.items():
        print(f"  {name:20} {version}")
    broken = None if backend in missing else _print_devices()
    _print_data_sets(flags.data_dir)
    for name in missing:
        print(f"missing: {name}; install it with `pip install {name}`{_instead(name)}")
    if broken:
        print(f"broken: {broken}")
    if not missing and not broken:
        print("nothing that lbkeras needs is missing")
    return 1 if missing or broken else 0


def _print_devices() -> str | None:
    """Prints the backend's devices; returns the error if it cannot be imported, else None."""
    try:
        backend = load_backend()
    except UserError as error:
        return one_line(str(error))
    print("devices")
    for device in _devices_of_jax() if backend == "jax" else _devices_of_tensorflow():
        print(f"  {device}")
    hardware = machine.hardware()
    print(f"  {hardware['cpu_count']} cores, {hardware['memory_gb']} GB, {hardware['processor']}")
    return None


def _devices_of_tensorflow() -> list[str]:
    import tensorflow as tf

    devices = tf.config.list_physical_devices()
    return [device.name.removeprefix("/physical_device:") for device in devices]


def _devices_of_jax() -> list[str]:
    import jax

    lines = [
        f"{each.platform.upper()}:{each.id}"
        + ("" if each.platform == "cpu" else f" {each.device_kind}")
        for each in jax.devices()
    ]
    if jax.default_backend() == "cpu" and glob.glob("/dev/nvidia[0-9]*"):
        lines.append("an NVIDIA GPU that JAX does not use; `pip install 'jax[cuda12]'`")
    return lines


def _others(backend: str) -> str:
    """Returns the other installed backends and how to choose them."""
    others = [each for each in BACKENDS if each != backend and is_installed(each)]
    return "".join(f" (KERAS_BACKEND={each} chooses {each})" for each in others)


def _instead(name: str) -> str:
    """Returns what to use instead of a missing backend; empty if there is nothing."""
    jax = name == "tensorflow" and is_installed("jax")
    return ", or train on JAX with KERAS_BACKEND=jax" if jax else ""


def _print_data_sets(data_dir: str | None) -> None:
    print("data sets")
    print("  digits (embedded)")
    folder = Path(data_dir or os.environ.get("TFDS_DATA_DIR", "~/tensorflow_datasets")).expanduser()
    found = sorted(
        f"  {info.parent.relative_to(folder)}" for info in folder.glob("**/dataset_info.json")
    )
    where = f"{folder}{'' if folder.exists() else ', which does not exist'}"
    print("\n".join(found) if found else f"  none prepared by TFDS in {where}")
