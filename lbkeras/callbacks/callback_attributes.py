"""Selects the attributes of a callback that can be its state."""

import inspect
import types

from lbkeras.keras_internals.callbacks import private_state

# Callbacks that only display: a resumed run may leave them out or add them.
_ONLY_SHOW = (
    "ProgbarLogger",
    "TensorBoard",
    "TensorBoardScalars",
    "CSVLogger",
    "RemoteMonitor",
    "History",
)
_IS_NO_STATE = (
    types.FunctionType,
    types.MethodType,
    types.BuiltinFunctionType,
    types.ModuleType,
    type,
)


def only_shows(class_name: str) -> bool:
    """Whether callbacks of this class only display, so that a resumed run may leave them out."""
    return class_name in _ONLY_SHOW


def has_protocol(callback) -> bool:
    return callable(getattr(callback, "get_state", None)) and callable(
        getattr(callback, "set_state", None)
    )


def is_ours_or_keras(kind: type) -> bool:
    return kind.__module__.split(".")[0] in ("keras", "lbkeras")


def attributes_of(callback) -> dict:
    """Returns the attributes that can be state, by name."""
    kinds = [each for each in type(callback).__mro__ if each is not object]
    arguments = {"params", "variables", "_model", "_params"}
    for kind in kinds:
        arguments.update(inspect.signature(kind.__init__).parameters)
    private = private_state(type(callback))
    own = not is_ours_or_keras(type(callback))
    inherited = set()
    if own:  # private names of a base class of Keras or lbkeras are not the user's state
        base = next((each for each in kinds if is_ours_or_keras(each)), None)
        inherited = _private_names(base)
    return {
        name: value
        for name, value in vars(callback).items()
        if name not in arguments
        and (not name.startswith("_") or name in private or own and name not in inherited)
        and not isinstance(value, _IS_NO_STATE)
    }


def _private_names(kind: type | None) -> set[str]:
    """Returns the names with an underscore that methods of a class and its bases read or set."""
    names: set[str] = set()
    for each in kind.__mro__ if kind is not None else ():
        for member in vars(each).values():
            code = getattr(member, "__code__", None)
            names.update(code.co_names if code else ())
    return {name for name in names if name.startswith("_")}
