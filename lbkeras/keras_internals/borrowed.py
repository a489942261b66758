"""Undoes what callbacks change in a model for one `fit`.

It is undone at the end of the `fit`. Keras does not tell callbacks when Ctrl-C or an error ends a
`fit`; it is then undone before the next one begins on a Pipeline.
"""

import weakref

_of_models = weakref.WeakKeyDictionary()  # model -> name of what was borrowed -> give_back


def borrow(model, name: str, give_back) -> None:
    """Registers `give_back()`, to be called once this `fit` is over.

    Args:
        model: the model.
        name: name of what is borrowed.
        give_back: a function without arguments that holds no reference to the model; it returns
            whether it changed something that the train function was traced with.
    """
    _of_models.setdefault(model, {})[name] = give_back


def give_back(model, name: str) -> None:
    """Gives one thing back, if it is borrowed."""
    function = _of_models.get(model, {}).pop(name, None)
    if function is not None and function():
        model.train_function = None


def give_back_all(model) -> None:
    """Gives back everything that an interrupted `fit` left borrowed."""
    for name in list(_of_models.get(model, ())):
        give_back(model, name)
