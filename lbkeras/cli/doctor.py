"""`lbkeras doctor`: versions, devices and data sets, and what is missing."""

import os
from pathlib import Path

from lbkeras.cli.command_flags import CommandFlags
from lbkeras.errors import UserError, one_line
from lbkeras.keras_internals.tensorflow_start import load_tensorflow
from lbkeras.runs import machine

HELP = """lbkeras doctor: shows versions, devices, the data sets on this machine and what is missing

examples:
  lbkeras doctor
  lbkeras doctor --data_dir=$HOME/tensorflow_datasets

Its exit status is 1 if something that lbkeras needs is missing or broken.
"""


def define_flags(command: CommandFlags) -> None:
    command.path("data_dir", "Folder of prepared TensorFlow Datasets data.")


def main(arguments: list[str]) -> int:
    command = CommandFlags(HELP, arguments)
    define_flags(command)
    flags = command.parse()
    versions = machine.versions()
    missing = [name for name, version in versions.items() if version == "missing"]
    print("versions")
    for name, version in versions.items():
        print(f"  {name:20} {version}")
    broken = None if "tensorflow" in missing else _print_devices()
    _print_data_sets(flags.data_dir)
    for name in missing:
        print(f"missing: {name}; install it with `pip install {name}`")
    if broken:
        print(f"broken: {broken}")
    if not missing and not broken:
        print("nothing is missing")
    return 1 if missing or broken else 0


def _print_devices() -> str | None:
    """Prints what TensorFlow finds; returns what keeps it from being imported."""
    try:
        load_tensorflow()
    except UserError as error:
        return one_line(str(error))
    import tensorflow as tf

    print("devices")
    for device in tf.config.list_physical_devices():
        print(f"  {device.name.removeprefix('/physical_device:')}")
    hardware = machine.hardware()
    print(f"  {hardware['cpu_count']} cores, {hardware['memory_gb']} GB, {hardware['processor']}")
    return None


def _print_data_sets(data_dir: str | None) -> None:
    print("data sets")
    print("  digits (embedded)")
    folder = Path(data_dir or os.environ.get("TFDS_DATA_DIR", "~/tensorflow_datasets")).expanduser()
    found = sorted(
        f"  {info.parent.relative_to(folder)}" for info in folder.glob("**/dataset_info.json")
    )
    print("\n".join(found) if found else f"  none prepared by TFDS in {folder}")
