"""How a private name is read, and what is said where this version has none."""

import ast
import functools
import importlib
import importlib.util
import pathlib
import sys
import types

from lbkeras.errors import UserError

SUPPORTED = "3.12 to 3.15"  # what tools/check_keras_versions.sh has passed


def private(owner, name: str):
    """The attribute `name` of an object, class or module of Keras.

    Raises:
        UserError: this Keras has none.
    """
    try:
        return getattr(owner, name)
    except AttributeError:
        if not isinstance(owner, type | types.ModuleType):
            owner = type(owner)
        raise missing(f"{owner.__name__}.{name}") from None


def private_module(name: str):
    """A module of Keras that is not public, by its full name.

    Raises:
        UserError: this Keras has none.
    """
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError:
        raise missing(name) from None


def missing(name: str) -> UserError:
    """The error of a private name, such as "Model._loss_tracker", that this Keras does not have."""
    received = sys.modules["keras"].__version__
    return UserError(
        f"keras: expected a version with {name} ({SUPPORTED} have it), received {received}"
    )


def defining_class(kind: type, name: str) -> type:
    """The class among a class and its bases, most derived first, that defines `name`.

    Raises:
        UserError: none does.
    """
    for each in kind.__mro__:
        if name in vars(each):
            return each
    raise missing(f"{kind.__name__}.{name}")


@functools.cache
def public_names(module: str) -> tuple[str, ...]:
    """The names that a package's `__init__` exports, read from its file: nothing is imported.

    Args:
        module: such as "keras.optimizers".

    Returns:
        Its `__all__` or else what it imports by name; () if it is not installed.
    """
    imported = []
    for node in _statements(module):
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
            return tuple(ast.literal_eval(node.value))
        if isinstance(node, ast.ImportFrom):
            imported += [each.asname or each.name for each in node.names]
    return tuple(imported)


@functools.cache
def argument_names(module: str, name: str) -> tuple[str, ...]:
    """The arguments of a class that a package's `__init__` exports: nothing is imported.

    Args:
        module: such as "keras.optimizers".
        name: such as "Adam".

    Returns:
        The names of its own `__init__`'s arguments; () if none is found.
    """
    for node in _statements(module):
        if isinstance(node, ast.ImportFrom):
            for each in node.names:
                if (each.asname or each.name) == name:
                    return _arguments(_statements(node.module), each.name)
    return ()


def _arguments(statements, name: str) -> tuple[str, ...]:
    for kind in statements:
        if isinstance(kind, ast.ClassDef) and kind.name == name:
            for node in kind.body:
                if isinstance(node, ast.FunctionDef) and node.name == "__init__":
                    arguments = [*node.args.args[1:], *node.args.kwonlyargs]
                    return tuple(argument.arg for argument in arguments)
    return ()


def _statements(module: str) -> list[ast.stmt]:
    """A module's top-level statements, read from its file; [] if it is not installed."""
    package, *inner = module.split(".")
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        return []
    path = pathlib.Path(spec.submodule_search_locations[0], *inner)
    for file in (path / "__init__.pyi", path / "__init__.py", path.with_suffix(".py")):
        if file.is_file():
            return ast.parse(file.read_text(encoding="utf-8")).body
    return []
