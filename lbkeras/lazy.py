"""Public names by kind: a package's names, each loaded from its module when first touched."""

import ast
import importlib
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

from lbkeras.errors import UserError
from lbkeras.keras_internals.tensorflow_start import without_notices


class _PublicPackage(ModuleType):
    """A package whose stub `__init__.pyi` says which names it has and where they are defined."""

    _module_of_name: dict[str, str]

    def __getattr__(self, name: str) -> Any:
        if name not in self._module_of_name:
            raise AttributeError(f"module {self.__name__!r} has no attribute {name!r}")
        with without_notices():
            module = _module(self._module_of_name[name], f"{self.__name__}.{name}")
            if hasattr(module, "__path__"):  # a package: the name is a module of it
                value = importlib.import_module(f"{module.__name__}.{name}")
            else:
                value = getattr(module, name)
            self.__dict__[name] = value
            if "keras" in sys.modules:  # who uses one of ours may load a model that holds another
                importlib.import_module("lbkeras.runs.keras_objects")
        return value

    def __setattr__(self, name: str, value: Any) -> None:
        # Importing `planning.noise_scale` sets the module where the function has to be.
        if not (name in self._module_of_name and isinstance(value, ModuleType)):
            super().__setattr__(name, value)

    def __dir__(self) -> list[str]:
        of_python = (name for name in self.__dict__ if name.startswith("__"))
        return sorted({*of_python, *self._module_of_name})


def _module(name: str, public: str) -> ModuleType:
    """The module that defines a public name, which may need TensorFlow."""
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name != "tensorflow":
            raise
        raise UserError(f"{public}: expected TensorFlow, which is not installed") from None


def load_names_when_touched(package: str) -> None:
    """Gives a package the names of its `__init__.pyi`, each loaded when it is first touched.

    The stub has one line for each name, which type checkers and editors read too:
    `from lbkeras.planning.plan import Plan as Plan`. Packages that do this are what users import
    from; no module of lbkeras imports through them.

    Args:
        package: `__name__` of the package, in its `__init__.py`.
    """
    module = sys.modules[package]
    stub = ast.parse(Path(module.__file__).with_suffix(".pyi").read_text(encoding="utf-8"))
    imports = [node for node in stub.body if isinstance(node, ast.ImportFrom)]
    module._module_of_name = {alias.name: node.module for node in imports for alias in node.names}
    module.__all__ = sorted(module._module_of_name)
    module.__class__ = _PublicPackage
