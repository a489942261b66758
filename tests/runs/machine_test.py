"""The versions and the hardware of a run."""

import importlib.metadata
import platform

from lbkeras.runs import machine


def test_versions_are_those_of_the_installed_packages():
    versions = machine.versions()
    assert versions["python"] == platform.python_version()
    assert versions["numpy"] == importlib.metadata.version("numpy")
    assert versions["tensorflow"] == importlib.metadata.version("tensorflow")


def test_a_package_that_is_not_installed_is_missing(monkeypatch):
    monkeypatch.setitem(machine._PACKAGES, "tensorflow", ("no-such-package",))
    assert machine.versions()["no-such-package"] == "missing"


def test_hardware():
    hardware = machine.hardware()
    assert hardware["cpu_count"] >= 1
    assert hardware["memory_gb"] > 0.1
    assert hardware["machine"] == platform.machine()
    assert isinstance(hardware["accelerators"], list)
