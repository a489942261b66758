"""Plain data by which a later process knows the same model, loss, callback or data again.

What is compared is what a user could have changed: classes, their settings, the code of functions
and of what they call, numbers. Names that Keras makes up and addresses in memory are left out.
"""

import functools
import hashlib
import json
import math
import re
import sys
import types
from collections import deque
from collections.abc import Mapping
from typing import Any

import numpy as np

_PLAIN = (bool, int, str, type(None))
_ADDRESS = re.compile(r" at 0x[0-9a-f]+")
_NUMBERED = re.compile(r"_\d+$")  # layers of one kind: dense_1, dense_2
_ATTRIBUTES = (
    *_PLAIN, float, bytes, list, tuple, set, frozenset, dict, deque, np.generic, np.ndarray,
    types.FunctionType, functools.partial,
)  # fmt: skip
_LIBRARIES = frozenset(
    {"keras", "tensorflow", "lbkeras", "numpy", "jax", "torch", "scipy", "sklearn"}
    | set(sys.stdlib_module_names)
)


def describe(value: Any) -> Any:
    """A value as plain JSON data.

    >>> describe({"units": (64, np.float32(0.5)), "rate": float("nan")})
    {'units': [64, 0.5], 'rate': 'nan'}

    Args:
        value: numbers, texts, arrays; functions, by their code, what they hold and what they use of
            their module; classes by their names; objects by their class, its code, their
            `get_config` and their attributes; and dicts, lists, tuples and sets of them.
    """
    return _Describer().of(value)


def digest(*parts: bytes) -> str:
    """A short hash of bytes."""
    total = hashlib.blake2b(digest_size=8)
    for part in parts:
        total.update(part)
    return total.hexdigest()


def digest_of(value: Any) -> str:
    """A short hash of `describe(value)`."""
    return digest(json.dumps(describe(value), sort_keys=True).encode())


def digest_of_code(component: Any) -> str:
    """A short hash of what a function does, or the methods of a class."""
    if isinstance(component, type):
        return digest_of(_Describer().class_code(component))
    return digest_of(component)


def without_numbers(described: Any) -> Any:
    """A description in which `dense_1` and `dense_2` are `dense`: Keras counts on in a process."""
    if isinstance(described, dict):
        return {key: without_numbers(each) for key, each in described.items()}
    if isinstance(described, list):
        return [without_numbers(each) for each in described]
    return _NUMBERED.sub("", described) if isinstance(described, str) else described


class _Describer:
    """Describes values, each function and object once: what refers to itself ends."""

    def __init__(self):
        self._described: dict[int, Any] = {}  # kept, so that no other object gets its number

    def of(self, value: Any) -> Any:
        if isinstance(value, _PLAIN):
            return value
        if isinstance(value, float | np.generic):
            value = value.item() if isinstance(value, np.generic) else value
            finite = not isinstance(value, float) or math.isfinite(value)
            return value if finite and isinstance(value, (*_PLAIN, float)) else str(value)
        if isinstance(value, bytes):
            return digest(value)
        if isinstance(value, type):
            return f"{value.__module__}.{value.__qualname__}"
        if not isinstance(value, tuple | frozenset | np.ndarray):  # two of them may be one
            if id(value) in self._described:
                return "above"
            self._described[id(value)] = value
        if isinstance(value, Mapping):
            return {str(key): self.of(each) for key, each in value.items()}
        if isinstance(value, list | tuple | deque):
            return [self.of(each) for each in value]
        if isinstance(value, set | frozenset):
            return sorted((self.of(each) for each in value), key=str)
        if isinstance(value, types.CodeType):
            return _code(value)
        if isinstance(value, functools.partial):
            return [self.of(each) for each in (value.func, value.args, value.keywords)]
        if isinstance(value, types.FunctionType):
            return self._function(value)
        if isinstance(value, types.MethodType):
            return [self.of(value.__self__), value.__func__.__qualname__]
        if isinstance(value, types.ModuleType | types.BuiltinFunctionType):
            return getattr(value, "__name__", "")
        if type(value).__name__.endswith("Variable"):  # its values are a state
            return [str(value.dtype), [*value.shape]]
        if hasattr(value, "__array__"):
            array = np.asarray(value)
            return [str(array.dtype), list(array.shape), digest(_bytes(array))]
        return self._object(value)

    def _function(self, function: types.FunctionType) -> dict:
        """A function by its name, its code, its defaults, and what it takes from around it.

        Of one of a library only the values that it was made with: `random_crop_flip(4)`.
        """
        described = {"function": f"{function.__module__}.{function.__qualname__}"}
        own = not _of_a_library(function.__module__)
        held = [_content(cell) for cell in function.__closure__ or ()]
        if own:
            described["code"] = _code(function.__code__)
            held += [function.__defaults__, function.__kwdefaults__]
        else:
            held = [each if isinstance(each, _ATTRIBUTES) else None for each in held]
        if any(each is not None for each in held):
            described["values"] = self.of(held)
        if not own:
            return described
        used = {
            name: self.of(function.__globals__[name])
            for name in sorted(_names(function.__code__))
            if _is_ones_own(function.__globals__.get(name))
        }
        return described | ({"uses": used} if used else {})

    def _object(self, value: Any) -> Any:
        """An object of a class by its `get_config`, and its attributes where the class is own."""
        described: dict[str, Any] = {"class": self.of(type(value))}
        config, own = _config(value), not _of_a_library(type(value).__module__)
        if own:
            described["code"] = self.class_code(type(value))
        if own or config is None:
            attributes = getattr(value, "__dict__", {})
            config = (config or {}) | {
                key: each for key, each in attributes.items() if isinstance(each, _ATTRIBUTES)
            }
        return described | {"config": self.of({k: v for k, v in config.items() if k != "name"})}

    def class_code(self, kind: type) -> dict:
        """The methods of a class and of its bases, up to those of libraries."""
        return {
            f"{each.__qualname__}.{name}": self.of(member)
            for each in kind.__mro__
            if not _of_a_library(each.__module__)
            for name, member in sorted(vars(each).items())
            if isinstance(member, types.FunctionType)
        }


def _of_a_library(module: str | None) -> bool:
    """Whether a module is installed rather than its user's: its version stands for its code."""
    name = (module or "").partition(".")[0]
    file = getattr(sys.modules.get(name), "__file__", None) or ""
    return name in _LIBRARIES or "site-packages" in file or "dist-packages" in file


def _is_ones_own(value: Any) -> bool:
    """Whether a name of a module stands for something that its user may change."""
    if isinstance(value, types.FunctionType):
        return not _of_a_library(value.__module__)
    return value is not None and isinstance(value, _ATTRIBUTES)


def _names(code: types.CodeType) -> set[str]:
    """The names that a function and the functions inside of it look up."""
    inner = (_names(each) for each in code.co_consts if isinstance(each, types.CodeType))
    return set(code.co_names).union(*inner)


def _content(cell) -> Any:
    try:
        return cell.cell_contents
    except ValueError:  # not filled yet
        return None


def _bytes(array: np.ndarray):
    if array.dtype == object:
        parts = (each if isinstance(each, bytes) else str(each).encode() for each in array.flat)
        return b"\0".join(parts)
    return np.ascontiguousarray(array).data


def _code(code: types.CodeType) -> str:
    """A hash of what the code does; not of where it stands."""
    constants = [_constant(each) for each in code.co_consts]
    return digest(code.co_code, repr(code.co_names).encode(), repr(constants).encode())


def _constant(value: Any) -> str:
    if isinstance(value, types.CodeType):
        return _code(value)
    if isinstance(value, frozenset):  # its order is another in each process
        return repr(sorted(map(repr, value)))
    return _ADDRESS.sub("", repr(value))


def _config(value: Any) -> dict | None:
    try:
        config = (getattr(value, "get_config", None) or value.to_dict)()
    except Exception:  # of the user's class, which need not have one
        return None
    return config if isinstance(config, dict) else None
