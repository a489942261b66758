"""Fingerprints, by which a later process recognizes the same model, loss, callback or data.

A fingerprint is plain data. It holds what a user could have changed: classes, their settings, the
code of functions and of what they call, numbers. It leaves out names that Keras makes up and memory
addresses.
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
_NUMBERED = re.compile(r"_\d+$")  # layers of the same class: dense_1, dense_2
_ATTRIBUTES = (
    *_PLAIN, float, bytes, list, tuple, set, frozenset, dict, deque, np.generic, np.ndarray,
    types.FunctionType, functools.partial,
)  # fmt: skip
_LIBRARIES = frozenset(
    {"keras", "tensorflow", "lbkeras", "numpy", "jax", "torch", "scipy", "sklearn"}
    | set(sys.stdlib_module_names)
)


def describe(value: Any) -> Any:
    """Returns a value as plain JSON data.

    >>> describe({"units": (64, np.float32(0.5)), "rate": float("nan")})
    {'units': [64, 0.5], 'rate': 'nan'}

    Args:
        value: a number, text or array; a function, described by its code, its closure and the
            globals it uses; a class, by its name; an object, by its class, the class's code, its
            `get_config` and its attributes; or a dict, list, tuple or set of these.
    """
    return _Describer().of(value)


def digest(*parts: bytes) -> str:
    """Returns a short hash of bytes."""
    total = hashlib.blake2b(digest_size=8)
    for part in parts:
        total.update(part)
    return total.hexdigest()


def digest_of(value: Any) -> str:
    """Returns a short hash of `describe(value)`."""
    return digest(json.dumps(describe(value), sort_keys=True).encode())


def digest_of_code(component: Any) -> str:
    """Returns a short hash of what a function, or the methods of a class, do."""
    if isinstance(component, type):
        return digest_of(_Describer().class_code(component))
    return digest_of(component)


def without_numbers(described: Any) -> Any:
    """Returns a description with `dense_1` as `dense`: Keras' counter runs on within a process."""
    if isinstance(described, dict):
        return {key: without_numbers(each) for key, each in described.items()}
    if isinstance(described, list):
        return [without_numbers(each) for each in described]
    return _NUMBERED.sub("", described) if isinstance(described, str) else described


class _Describer:
    """Describes values, each function and object only once, so that cycles end."""

    def __init__(self):
        self._described: dict[int, Any] = {}  # kept alive, so that no other object gets its id

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
        if not isinstance(value, tuple | frozenset | np.ndarray):  # equal ones may be one object
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
        if type(value).__name__.endswith("Variable"):  # its values are state
            return [str(value.dtype), [*value.shape]]
        if hasattr(value, "__array__"):
            array = np.asarray(value)
            return [str(array.dtype), list(array.shape), digest(_bytes(array))]
        return self._object(value)

    def _function(self, function: types.FunctionType) -> dict:
        """Describes a function by its name, code, defaults, closure and the globals it uses.

        Of a library's function only the name and the values that it was made with are used, as for
        `random_crop_flip(4)`.
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
        """Describes an object by its class and `get_config`.

        For a user's class its code and the object's attributes are added; without a `get_config`
        the attributes are used.
        """
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
        """Describes the methods of a class and of its bases, except bases from libraries."""
        return {
            f"{each.__qualname__}.{name}": self.of(member)
            for each in kind.__mro__
            if not _of_a_library(each.__module__)
            for name, member in sorted(vars(each).items())
            if isinstance(member, types.FunctionType)
        }


def _of_a_library(module: str | None) -> bool:
    """Whether a module is an installed library rather than the user's: its code is not compared."""
    name = (module or "").partition(".")[0]
    file = getattr(sys.modules.get(name), "__file__", None) or ""
    return name in _LIBRARIES or "site-packages" in file or "dist-packages" in file


def _is_ones_own(value: Any) -> bool:
    """Whether the value of a global name is something that the user may change."""
    if isinstance(value, types.FunctionType):
        return not _of_a_library(value.__module__)
    return value is not None and isinstance(value, _ATTRIBUTES)


def _names(code: types.CodeType) -> set[str]:
    """Returns the names that a function and its inner functions look up."""
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
    """Returns a hash of what the code does, not of its place in a file."""
    constants = [_constant(each) for each in code.co_consts]
    return digest(code.co_code, repr(code.co_names).encode(), repr(constants).encode())


def _constant(value: Any) -> str:
    if isinstance(value, types.CodeType):
        return _code(value)
    if isinstance(value, frozenset):  # its order differs between processes
        return repr(sorted(map(repr, value)))
    return _ADDRESS.sub("", repr(value))


def _config(value: Any) -> dict | None:
    try:
        config = (getattr(value, "get_config", None) or value.to_dict)()
    except Exception:  # a user's class need not have one
        return None
    return config if isinstance(config, dict) else None
