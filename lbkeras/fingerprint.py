"""Plain data by which a later process knows the same model, loss, callback or data again.

What is compared is what a user could have changed: classes, their settings, the code of functions,
numbers. Names that Keras makes up and addresses in memory are left out.
"""

import hashlib
import json
import math
import re
import types
from collections.abc import Mapping
from typing import Any

import numpy as np

_PLAIN = (bool, int, str, type(None))
_ADDRESS = re.compile(r" at 0x[0-9a-f]+")
_MOST_DEPTH = 40
_ATTRIBUTES = (*_PLAIN, float, list, tuple, np.generic, np.ndarray, types.FunctionType)


def describe(value: Any, depth: int = 0) -> Any:
    """A value as plain JSON data.

    >>> describe({"units": (64, np.float32(0.5)), "rate": float("nan")})
    {'units': [64, 0.5], 'rate': 'nan'}

    Args:
        value: numbers, texts, arrays, functions, classes, objects with a `get_config`, others by
            their attributes, and dicts, lists, tuples and sets of them.
        depth: how deep in another value it is.
    """
    if isinstance(value, _PLAIN):
        return value
    if isinstance(value, float | np.generic):
        value = value.item() if isinstance(value, np.generic) else value
        finite = not isinstance(value, float) or math.isfinite(value)
        return value if finite and isinstance(value, (bool, int, float, str)) else str(value)
    if isinstance(value, bytes):
        return digest(value)
    if depth > _MOST_DEPTH:
        return _class_name(value)
    deeper = depth + 1
    if isinstance(value, Mapping):
        return {str(key): describe(each, deeper) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [describe(each, deeper) for each in value]
    if isinstance(value, set | frozenset):
        return sorted((describe(each, deeper) for each in value), key=str)
    if isinstance(value, types.CodeType):
        return _code(value)
    if isinstance(value, types.FunctionType):
        return _function(value, deeper)
    if isinstance(value, types.MethodType):
        return [describe(value.__self__, deeper), value.__func__.__qualname__]
    if isinstance(value, type):
        return f"{value.__module__}.{value.__qualname__}"
    if hasattr(value, "__array__"):
        array = np.asarray(value)
        return [str(array.dtype), list(array.shape), digest(_bytes(array))]
    return _object(value, deeper)


def digest(*parts: bytes) -> str:
    """A short hash of bytes."""
    total = hashlib.blake2b(digest_size=8)
    for part in parts:
        total.update(part)
    return total.hexdigest()


def digest_of(value: Any) -> str:
    """A short hash of `describe(value)`."""
    return digest(json.dumps(describe(value), sort_keys=True).encode())


def _bytes(array: np.ndarray) -> bytes:
    if array.dtype == object:
        return b"\0".join(
            each if isinstance(each, bytes) else str(each).encode() for each in array.flat
        )
    return np.ascontiguousarray(array).data


def _function(function: types.FunctionType, depth: int) -> dict:
    """A function by its name, its code, its defaults and what it has taken from around it."""
    described = {
        "function": f"{function.__module__}.{function.__qualname__}",
        "code": _code(function.__code__),
    }
    values = [cell.cell_contents for cell in function.__closure__ or () if _is_filled(cell)]
    values = [*(function.__defaults__ or ()), *values]
    numbers = [describe(each, depth) for each in values if isinstance(each, (*_PLAIN, float))]
    return described | ({"values": numbers} if numbers else {})


def _is_filled(cell) -> bool:
    try:
        return cell.cell_contents is not None
    except ValueError:
        return False


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


def _object(value: Any, depth: int) -> Any:
    """An object of a class by its `get_config`, else by its attributes."""
    name, own = _class_name(value), not value.__class__.__module__.startswith("keras.")
    described: dict[str, Any] = {"class": name}
    if own:
        described["code"] = _class_code(type(value))
    config = _config(value)
    if config is None:
        attributes = getattr(value, "__dict__", {})
        config = {key: each for key, each in attributes.items() if isinstance(each, _ATTRIBUTES)}
    config = {key: each for key, each in config.items() if key != "name"}
    return described | {"config": describe(config, depth)}


def _config(value: Any) -> dict | None:
    try:
        config = (getattr(value, "get_config", None) or value.to_dict)()
    except Exception:  # of the user's class, which need not have one
        return None
    return config if isinstance(config, dict) else None


def _class_name(value: Any) -> str:
    return f"{type(value).__module__}.{type(value).__qualname__}"


def _class_code(kind: type) -> str:
    """A hash of the methods of a class and of its bases, up to those of libraries."""
    codes = []
    for each in kind.__mro__:
        if each is object or each.__module__.split(".")[0] in ("keras", "tensorflow", "lbkeras"):
            continue
        members = {name: getattr(member, "__code__", None) for name, member in vars(each).items()}
        codes += [f"{name}:{_code(code)}" for name, code in sorted(members.items()) if code]
    return digest("\n".join(codes).encode())
