"""Finds the arguments of the running `fit`, `evaluate` or `predict`.

Keras does not tell a callback the data of `fit` or its other callbacks, and drops `class_weight`
for data that make their own batches. The names of these arguments are public; that they are local
variables on the stack is an implementation detail.
"""

import inspect
from typing import Any

import keras

_CALLS = ("fit", "evaluate", "predict")


def running_call(model=None) -> tuple[str, dict[str, Any]]:
    """Returns name and arguments of the innermost call of Keras' trainer on the stack.

    Args:
        model: the model whose call to find; None: any model's.

    Returns:
        `("fit", {"x": ..., "callbacks": ..., ...})`; `("", {})` outside of such a call.
    """
    frame = _frame(model)
    if frame is None:
        return "", {}
    code, local = frame.f_code, frame.f_locals
    names = code.co_varnames[1 : code.co_argcount + code.co_kwonlyargcount]
    return code.co_name, {name: local[name] for name in names if name in local}


def running_model():
    """Returns the model of the innermost call, or None."""
    frame = _frame(None)
    return None if frame is None else frame.f_locals["self"]


def _frame(model):
    frame = inspect.currentframe()
    while frame is not None:
        code = frame.f_code
        if code.co_name in _CALLS and frame.f_globals.get("__name__", "").startswith("keras."):
            owner = frame.f_locals.get("self")
            if isinstance(owner, keras.Model) and (model is None or owner is model):
                return frame
        frame = frame.f_back
    return None


def callbacks_of(arguments: dict[str, Any]) -> list:
    """Returns the callbacks among these arguments as a list, in whatever form they were given."""
    callbacks = arguments.get("callbacks") or ()
    if isinstance(callbacks, keras.callbacks.CallbackList):
        callbacks = callbacks.callbacks
    return list(callbacks) if isinstance(callbacks, list | tuple) else [callbacks]
