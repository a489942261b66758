"""What the running `fit`, `evaluate` or `predict` was called with.

Keras tells a callback neither what `fit` trains on nor which other callbacks there are, and drops
`class_weight` for data that make their own batches. The names of these arguments are public; that
they are found as local variables on the stack is not.
"""

import inspect
from typing import Any

import keras

_CALLS = ("fit", "evaluate", "predict")


def running_call(model=None) -> tuple[str, dict[str, Any]]:
    """Name and arguments of the innermost call of Keras' trainer on the stack.

    Args:
        model: whose call; None: any model's.

    Returns:
        `("fit", {"x": ..., "callbacks": ..., ...})`; `("", {})` outside of such a call.
    """
    frame = inspect.currentframe()
    while frame is not None:
        code, local = frame.f_code, frame.f_locals
        if code.co_name in _CALLS and frame.f_globals.get("__name__", "").startswith("keras."):
            owner = local.get("self")
            if isinstance(owner, keras.Model) and (model is None or owner is model):
                names = code.co_varnames[1 : code.co_argcount + code.co_kwonlyargcount]
                return code.co_name, {name: local[name] for name in names if name in local}
        frame = frame.f_back
    return "", {}


def callbacks_of(arguments: dict[str, Any]) -> list:
    """The callbacks among those arguments, whichever form they were given in."""
    callbacks = arguments.get("callbacks") or ()
    if isinstance(callbacks, keras.callbacks.CallbackList):
        callbacks = callbacks.callbacks
    return list(callbacks) if isinstance(callbacks, list | tuple) else [callbacks]
