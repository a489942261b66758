"""The public interface is annotated, so that type checkers and editors know its arguments."""

import inspect

import pytest

import lbkeras

PUBLIC = {name: getattr(lbkeras, name) for name in lbkeras.__all__} | {
    f"{package}.{name}": getattr(getattr(lbkeras, package), name)
    for package in lbkeras.__all__
    for name in getattr(getattr(lbkeras, package), "__all__", ())
}


def called(public) -> dict:
    """Returns a function itself; for a class, `__init__` and the public methods it adds."""
    if not inspect.isclass(public):
        return {"": public} if inspect.isfunction(public) else {}
    inherited = {name for base in public.__mro__[1:] for name in vars(base)} - {"__init__"}
    methods = {}
    for name, value in vars(public).items():
        function = value.fget if isinstance(value, property) else inspect.unwrap(value)
        function = getattr(function, "__func__", function)
        if inspect.isfunction(function) and (name == "__init__" or name[0] != "_"):
            methods |= {} if name in inherited else {name: function}
    return methods


def missing(function) -> list[str]:
    """Returns the arguments without a type, with "return" if the return type is missing."""
    signature = inspect.signature(function)
    names = [
        name
        for name, argument in signature.parameters.items()
        if argument.annotation is argument.empty and name not in ("self", "cls")
    ]
    unknown = signature.return_annotation is signature.empty and function.__name__ != "__init__"
    return [*names, "return"] if unknown else names


@pytest.mark.parametrize("name", PUBLIC)
def test_a_public_name_is_annotated(name):
    found = {method: missing(function) for method, function in called(PUBLIC[name]).items()}
    assert not {method: names for method, names in found.items() if names}


def test_what_has_no_types_is_found():
    class Base:
        def hook(self, logs): ...

    class Planted(Base):
        def __init__(self, pipeline, seed: int = 0): ...
        def hook(self, logs): ...
        def _own(self, x): ...
        def method(self, x: int): ...
        @property
        def size(self): ...

    found = {method: missing(function) for method, function in called(Planted).items()}
    assert found == {"__init__": ["pipeline"], "method": ["return"], "size": ["return"]}
