"""Public packages have the names in their stubs and load them on first use."""

import ast
import importlib
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

import lbkeras

ROOT = Path(lbkeras.__file__).parent
PACKAGES = sorted(path.parent.name for path in ROOT.glob("*/__init__.pyi"))


def stub(package: str) -> dict[str, str]:
    """Returns the names in a package's stub, each with the module that it comes from."""
    tree = ast.parse((ROOT / package / "__init__.pyi").read_text())
    names = {}
    for node in tree.body:
        if ast.unparse(node) == "__version__: str":
            continue
        assert isinstance(node, ast.ImportFrom) and len(node.names) == 1, ast.unparse(node)
        (alias,) = node.names
        assert alias.name == alias.asname and alias.name not in names, ast.unparse(node)
        names[alias.name] = node.module
    return names


def test_lbkeras_names_its_packages_and_the_modules_that_users_import():
    names = set(stub("."))
    assert set(PACKAGES) < names == set(lbkeras.__all__)
    assert names == {name for name in dir(lbkeras) if not name.startswith("__")}
    for name, source in stub(".").items():
        value = getattr(lbkeras, name)
        if source == "lbkeras":
            assert value is importlib.import_module(f"lbkeras.{name}")
        else:
            assert value is getattr(importlib.import_module(source), name)


@pytest.mark.parametrize("package", PACKAGES)
def test_each_name_is_what_its_module_defines(package):
    loaded = importlib.import_module(f"lbkeras.{package}")
    for name, source in stub(package).items():
        value, module = getattr(loaded, name), importlib.import_module(source)
        if isinstance(value, ModuleType):
            assert value.__name__ == f"{source}.{name}"
            continue
        assert value is getattr(module, name)
        assert name in defined(Path(module.__file__)), f"{source} only imports {name}"
    with pytest.raises(AttributeError, match="has no attribute 'Unknown'"):
        loaded.Unknown  # noqa: B018


def defined(path: Path) -> set[str]:
    """Returns the names that a file defines at its top level."""
    names = set()
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.Assign):
            names.update(each.id for each in node.targets if isinstance(each, ast.Name))
    return names


@pytest.mark.parametrize("package", PACKAGES)
def test_a_star_import_takes_all_names(package):
    names = {}
    exec(f"from lbkeras.{package} import *", names)
    assert (
        set(names) - {"__builtins__"} == set(stub(package)) <= set(dir(lbkeras.__dict__[package]))
    )


@pytest.mark.parametrize("package", PACKAGES)
def test_a_module_does_not_hide_a_function_of_its_name(package):
    loaded = importlib.import_module(f"lbkeras.{package}")
    for name in stub(package):
        if (ROOT / package / f"{name}.py").exists():
            importlib.import_module(f"lbkeras.{package}.{name}")
            assert not isinstance(getattr(loaded, name), ModuleType), name


IN_A_NEW_PROCESS = """
import importlib, sys, types
names = {names!r}
for package in names:
    loaded = importlib.import_module(f"lbkeras.{{package}}")
    public = {{name for name in dir(loaded) if not name.startswith("__")}}
    assert public == set(names[package]), package
    assert loaded.__all__ == sorted(names[package]), package
import lbkeras.planning.noise_scale
assert isinstance(lbkeras.planning.noise_scale, types.FunctionType)
assert isinstance(sys.modules["lbkeras.planning.noise_scale"], types.ModuleType)
loaded = {{"keras", "tensorflow"}} & set(sys.modules)
assert not loaded, loaded
"""


def test_a_package_knows_its_names_before_it_loads_any():
    """It does not load Keras or TensorFlow either."""
    program = IN_A_NEW_PROCESS.format(names={name: sorted(stub(name)) for name in PACKAGES})
    process = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert process.returncode == 0, process.stderr[-1000:]
