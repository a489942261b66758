"""What callbacks change in a model for one `fit`: given back at its end, or, as Keras tells nobody
where Ctrl-C or an error breaks a `fit` off, before the next one begins on a Pipeline."""

import weakref

_of_models = weakref.WeakKeyDictionary()  # model -> what was borrowed -> how it is given back


def borrow(model, name: str, give_back) -> None:
    """Notes that `give_back()` is to be called once this `fit` is over.

    Args:
        model: the model.
        name: what is borrowed.
        give_back: a function without arguments that does not hold the model itself; says whether
            it has changed what the train function was traced with.
    """
    _of_models.setdefault(model, {})[name] = give_back


def give_back(model, name: str) -> None:
    """Gives one thing back, if it is borrowed."""
    function = _of_models.get(model, {}).pop(name, None)
    if function is not None and function():
        model.train_function = None


def give_back_all(model) -> None:
    """Gives back what a `fit` that broke off has left."""
    for name in list(_of_models.get(model, ())):
        give_back(model, name)
