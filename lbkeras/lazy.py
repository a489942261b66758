"""Lazy public packages: each name is loaded from its module on first use."""

import ast
import importlib
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

from lbkeras.errors import UserError
from lbkeras.keras_internals.backend_start import backend_name
from lbkeras.keras_internals.tensorflow_start import without_notices

_OF_TENSORFLOW = ("tensorflow", "tensorflow_datasets")


class _PublicPackage(ModuleType):
    """A package whose stub `__init__.pyi` lists its names and where they are defined."""

    _module_of_name: dict[str, str]

    def __getattr__(self, name: str) -> Any:
        if name not in self._module_of_name:
            raise AttributeError(f"module {self.__name__!r} has no attribute {name!r}")
        backend_name()  # if only one backend is installed, chooses it before Keras is imported
        try:
            with without_notices():
                self.__dict__[name] = value = self._load(name)
                if "keras" in sys.modules:  # so that load_model knows all of our classes
                    importlib.import_module("lbkeras.runs.keras_objects")
        except ModuleNotFoundError as error:
            missing = (error.name or "").partition(".")[0]
            if missing not in _OF_TENSORFLOW:
                raise
            raise UserError(
                f"{self.__name__}.{name}: expected TensorFlow, without which it does not work "
                f"(`pip install {missing.replace('_', '-')}`), received an environment without it"
            ) from error
        return value

    def _load(self, name: str) -> Any:
        module = importlib.import_module(self._module_of_name[name])
        if hasattr(module, "__path__"):  # a package: the name is one of its modules
            return importlib.import_module(f"{module.__name__}.{name}")
        return getattr(module, name)

    def __setattr__(self, name: str, value: Any) -> None:
        # Importing the module `planning.noise_scale` would replace the function of that name.
        if not (name in self._module_of_name and isinstance(value, ModuleType)):
            super().__setattr__(name, value)

    def __dir__(self) -> list[str]:
        of_python = (name for name in self.__dict__ if name.startswith("__"))
        return sorted({*of_python, *self._module_of_name})


def load_names_when_touched(package: str) -> None:
    """Gives a package the names in its `__init__.pyi`, each loaded on first use.

    The stub has one line per name, which type checkers and editors read too:
    `from lbkeras.planning.plan import Plan as Plan`. Users import from these packages; lbkeras' own
    modules do not.

    Args:
        package: the package's `__name__`; call this in its `__init__.py`.
    """
    module = sys.modules[package]
    stub = ast.parse(Path(module.__file__).with_suffix(".pyi").read_text(encoding="utf-8"))
    imports = [node for node in stub.body if isinstance(node, ast.ImportFrom)]
    module._module_of_name = {alias.name: node.module for node in imports for alias in node.names}
    module.__all__ = sorted(module._module_of_name)
    module.__class__ = _PublicPackage
