"""Reads private names of Keras, with a clear error if this version lacks one."""

import ast
import functools
import importlib
import importlib.util
import pathlib
import re
import sys
import types

from lbkeras.errors import UserError

SUPPORTED = "3.12 to 3.15"  # versions that have passed tools/check_keras_versions.sh
_SHORT = {  # Keras' own short names of losses and metrics
    "bce": "BinaryCrossentropy",
    "kld": "KLDivergence",
    "mae": "MeanAbsoluteError",
    "mape": "MeanAbsolutePercentageError",
    "mse": "MeanSquaredError",
    "msle": "MeanSquaredLogarithmicError",
}


def private(owner, name: str):
    """Returns the attribute `name` of an object, class or module of Keras.

    Raises:
        UserError: this version of Keras does not have it.
    """
    try:
        return getattr(owner, name)
    except AttributeError:
        if not isinstance(owner, type | types.ModuleType):
            owner = type(owner)
        raise missing(f"{owner.__name__}.{name}") from None


def private_module(name: str):
    """Returns a private module of Keras, by its full name.

    Raises:
        UserError: this version of Keras does not have it.
    """
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError:
        raise missing(name) from None


def missing(name: str) -> UserError:
    """Returns the error for a private name that this Keras lacks, such as "Model._loss_tracker"."""
    received = sys.modules["keras"].__version__
    return UserError(
        f"keras: expected a version with {name} ({SUPPORTED} have it), received {received}"
    )


def defining_class(kind: type, name: str) -> type:
    """Returns the most derived of a class and its bases that defines `name`.

    Raises:
        UserError: none of them does.
    """
    for each in kind.__mro__:
        if name in vars(each):
            return each
    raise missing(f"{kind.__name__}.{name}")


@functools.cache
def public_names(module: str) -> tuple[str, ...]:
    """Returns the names that a package's `__init__` exports; reads its file, imports nothing.

    Args:
        module: the package's full name, such as "keras.optimizers".

    Returns:
        Its `__all__`, or else the names that it imports; () if it is not installed.
    """
    imported = []
    for node in _statements(module):
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
            return tuple(ast.literal_eval(node.value))
        if isinstance(node, ast.ImportFrom):
            imported += [each.asname or each.name for each in node.names]
    return tuple(imported)


@functools.cache
def class_named(module: str, name: str) -> str | None:
    """Returns the class of `keras.losses` or `keras.metrics` that a name means; imports nothing.

    >>> [class_named("keras.metrics", name) for name in ("AUC", "mean_squared_error", "mse", "my")]
    ['AUC', 'MeanSquaredError', 'MeanSquaredError', None]

    Args:
        module: "keras.losses" or "keras.metrics".
        name: the class's name, the same in Keras' snake case, or one of Keras' short names.
    """
    classes = [each for each in public_names(module) if each[0].isupper()]
    by_name = {snake_case(each): each for each in classes} | {each: each for each in classes}
    return by_name.get(_SHORT.get(name.lower(), name))


def snake_case(name: str) -> str:
    """Converts a name to Keras' snake case.

    >>> [snake_case(name) for name in ("MeanSquaredError", "AUC", "KLDivergence", "top_5")]
    ['mean_squared_error', 'auc', 'kl_divergence', 'top_5']
    """
    name = re.sub("(.)([A-Z][a-z]+)", r"\1_\2", name)
    return re.sub("([a-z])([A-Z])", r"\1_\2", name).lower()


@functools.cache
def argument_names(module: str, name: str) -> tuple[str, ...]:
    """Returns the argument names of a class or function that a package exports; imports nothing.

    Args:
        module: the package's full name, such as "keras.optimizers".
        name: the exported name, such as "Adam".

    Returns:
        The names of its own arguments, for a class those of its `__init__`; () if it is not found.
    """
    definition, _ = _definition(module, name)
    first = 0
    if isinstance(definition, ast.ClassDef):
        definition, first = _initializer(definition), 1
    if definition is None:
        return ()
    arguments = [*definition.args.args[first:], *definition.args.kwonlyargs]
    return tuple(argument.arg for argument in arguments)


def arguments_of_every_optimizer() -> tuple[str, ...]:
    """Returns the arguments that every Keras optimizer accepts, if only as `**kwargs`.

    Imports nothing.
    """
    statements = _statements("keras.src.optimizers.base_optimizer")
    made = _initializer(_named(statements, "BaseOptimizer"))
    return tuple(argument.arg for argument in made.args.args[1:])


def direction(name: str) -> str | None:
    """Returns the better direction of a Keras metric, "up" or "down"; None: its class has none.

    Imports nothing.

    Args:
        name: name of a class in `keras.metrics`.
    """
    definition, statements = _definition("keras.metrics", name)
    while definition is not None:
        made = _initializer(definition)
        for node in made.body if made else ():
            if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "self._direction":
                return ast.literal_eval(node.value)
        bases = [base.id for base in definition.bases if isinstance(base, ast.Name)]
        definition = _named(statements, bases[0]) if bases else None
    return "down" if class_named("keras.losses", name) else None  # as MeanMetricWrapper says


def _definition(module: str, name: str):
    """Returns the class or function that a package exports under a name, and its file's statements.

    The first is None if it is not found.
    """
    for node in _statements(module):
        if isinstance(node, ast.ImportFrom):
            for each in node.names:
                if (each.asname or each.name) == name:
                    statements = _statements(node.module)
                    return _named(statements, each.name), statements
    return None, []


def _named(statements, name: str):
    return next((node for node in statements if getattr(node, "name", None) == name), None)


def _initializer(kind: ast.ClassDef):
    return _named(kind.body, "__init__")


@functools.cache
def _statements(module: str) -> list[ast.stmt]:
    """Returns a module's top-level statements, read from its file; [] if it is not installed."""
    package, *inner = module.split(".")
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        return []
    path = pathlib.Path(spec.submodule_search_locations[0], *inner)
    for file in (path / "__init__.pyi", path / "__init__.py", path.with_suffix(".py")):
        if file.is_file():
            return ast.parse(file.read_text(encoding="utf-8")).body
    return []
