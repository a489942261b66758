"""Saves and restores the state of callbacks in checkpoints, as JSON and arrays.

A callback with `get_state()` and `set_state(state)` defines its own state. For any other callback
the state is its attributes: numbers, strings, None, arrays, Keras variables, layers and optimizers
(their variables), other callbacks, and lists, tuples, sets, dicts and deques of these. Arguments of
`__init__` are not state: a resumed program passes them again. (In Keras, EarlyStopping negates its
`min_delta` in every run.) Attributes that begin with an underscore are kept only for classes that
neither Keras nor lbkeras defines, and where Keras itself keeps state in one.

A callback can offer state on the device as `variables`, a list whose length is fixed once
`set_model` has run.
"""

import collections
import contextlib

import keras
import numpy as np

from lbkeras.callbacks.callback_attributes import (
    attributes_of,
    has_protocol,
    is_ours_or_keras,
)
from lbkeras.errors import UserError

_SEQUENCES = {"list": list, "tuple": tuple, "set": set, "frozenset": frozenset}


class _NotKept(Exception):
    pass


def get_state(callback, where: str, arrays: dict) -> dict:
    """Returns a callback's state; puts its arrays into `arrays` as `where/...`."""
    if isinstance(callback, keras.callbacks.ProgbarLogger):
        return {}
    if has_protocol(callback):
        state = {"state": _encoded(callback.get_state(), f"{where}/state", arrays)}
    else:
        state = {"attributes": {}}
        for name, value in attributes_of(callback).items():
            try:
                state["attributes"][name] = _encoded(value, f"{where}/{name}", arrays)
            except _NotKept:
                continue
    variables = list(getattr(callback, "variables", ()))
    if variables:
        state["variables"] = _stored(variables, f"{where}/variable", arrays)
    return state if any(state.values()) else {}


def set_state(callback, state: dict, arrays: dict) -> None:
    """Restores what `get_state` returned.

    Raises:
        UserError: the state has an attribute that the callback does not keep, a value of another
            type (callbacks of Keras and lbkeras only) or another number of variables, or it is
            malformed.
    """
    name = type(callback).__name__
    if "variables" in state:
        with _well_formed(name):
            _assign(list(getattr(callback, "variables", ())), state["variables"], arrays, name)
    if "state" in state:
        if not has_protocol(callback):
            raise UserError(f"expected a {name} with set_state, received one without it")
        with _well_formed(name):
            value = _decoded(state["state"], arrays)
        callback.set_state(value)
    kept = attributes_of(callback)
    for attribute, value in state.get("attributes", {}).items():
        if (
            attribute in vars(callback)
            and attribute not in kept
            or hasattr(type(callback), attribute)
        ):
            raise UserError(
                f"expected attributes that {name} keeps, received {attribute!r}, which it does not"
            )
        present = vars(callback).get(attribute)
        if isinstance(value, dict) and "callback" in value:
            if not isinstance(present, keras.callbacks.Callback):
                raise UserError(f"expected a callback as {name}.{attribute}, received none")
            set_state(present, value["callback"], arrays)
        else:
            with _well_formed(name):
                value = _decoded(value, arrays, present)
            if is_ours_or_keras(type(callback)):  # a user's attribute may change its type
                _check_type(f"{name}.{attribute}", present, value)
            if isinstance(present, dict) and isinstance(value, dict):  # may be a Counter
                present.clear()
                present.update(value)
            else:
                setattr(callback, attribute, value)


@contextlib.contextmanager
def _well_formed(name: str):
    """Raises a UserError if reading the state fails because it is malformed."""
    try:
        yield
    except UserError:
        raise
    except (AttributeError, LookupError, StopIteration, TypeError, ValueError) as error:
        raise UserError(f"expected the state of {name}, received a malformed one") from error


def _check_type(name: str, present, value) -> None:
    """Checks a value's type; numbers and arrays are one type, dicts another; None always fits."""
    if present is None or value is None:
        return
    alike = (bool | int | float | np.ndarray | np.generic, dict, type(present))
    kind = next(each for each in alike if isinstance(present, each))
    if not isinstance(value, kind):
        raise UserError(
            f"expected {name} of type {type(present).__name__}, received {type(value).__name__}"
        )


def not_kept(callback) -> list[str]:
    """Returns the names of attributes of a user's callback that a checkpoint cannot keep."""
    if is_ours_or_keras(type(callback)) or has_protocol(callback):
        return []
    names = []
    for name, value in attributes_of(callback).items():
        try:
            _encoded(value, name, {})
        except _NotKept:
            names.append(name)
    return names


def _encoded(value, where: str, arrays: dict):
    """Returns a value as JSON: scalars unchanged, everything else as `{kind: content}`."""
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, np.ndarray) and value.dtype != object:
        arrays[where] = value
        return {"array": where}
    if isinstance(value, keras.callbacks.Callback):
        return {"callback": get_state(value, where, arrays)}
    if (variables := _variables_of(value)) is not None:
        return {"variables": _stored(variables, where, arrays)}
    if isinstance(value, collections.deque):
        return {"deque": _each(value, where, arrays), "maxlen": value.maxlen}
    if type(value) in (dict, collections.OrderedDict, collections.defaultdict, collections.Counter):
        pairs = [
            [_encoded(key, f"{where}/key/{i}", arrays), _encoded(each, f"{where}/{i}", arrays)]
            for i, (key, each) in enumerate(value.items())
        ]
        return {"dict": pairs}
    for kind, of in _SEQUENCES.items():
        if type(value) is of:
            return {kind: _each(value, where, arrays)}
    raise _NotKept


def _each(values, where: str, arrays: dict) -> list:
    return [_encoded(each, f"{where}/{i}", arrays) for i, each in enumerate(values)]


def _decoded(value, arrays: dict, present=None):
    """Returns the value; variables are assigned in place, to those of the value `present`."""
    if not isinstance(value, dict):
        return value
    kind, content = next(iter(value.items()))
    if kind == "array":
        return arrays[content]
    if kind == "variables":
        _assign(_variables_of(present), content, arrays, type(present).__name__)
        return present
    if (
        kind in ("list", "tuple")
        and type(present).__name__ == kind
        and len(present) == len(content)
    ):
        pairs = zip(content, present, strict=True)
        return _SEQUENCES[kind](_decoded(each, arrays, of) for each, of in pairs)
    if kind == "deque":
        return collections.deque((_decoded(each, arrays) for each in content), value["maxlen"])
    if kind == "dict":
        return {_decoded(key, arrays): _decoded(each, arrays) for key, each in content}
    if kind in _SEQUENCES:
        return _SEQUENCES[kind](_decoded(each, arrays) for each in content)
    raise UserError(f"expected the state of a callback, received {kind!r}")


def _variables_of(value) -> list | None:
    """Returns the variables of a Keras variable, layer, metric or optimizer; else None."""
    if isinstance(value, keras.Variable):
        return [value]
    if isinstance(value, keras.Layer | keras.Metric | keras.optimizers.Optimizer):
        return list(value.variables)
    return None


def _stored(variables: list, where: str, arrays: dict) -> list[str]:
    names = [f"{where}/{i}" for i in range(len(variables))]
    for name, variable in zip(names, variables, strict=True):
        arrays[name] = np.asarray(keras.ops.convert_to_numpy(variable))
    return names


def _assign(variables: list | None, names: list[str], arrays: dict, owner: str) -> None:
    if len(variables or ()) != len(names):
        raise UserError(
            f"expected {len(names)} variables of {owner}, received {len(variables or ())}"
        )
    for variable, name in zip(variables, names, strict=True):
        variable.assign(arrays[name])
