import inspect

import keras
import pytest

from lbkeras import optimizers
from lbkeras.errors import UserError
from lbkeras.keras_internals.names import (
    SUPPORTED,
    argument_names,
    defining_class,
    private,
    private_module,
    public_names,
)


def test_a_name_is_read():
    assert private(keras.Sequential(name="mine"), "name") == "mine"


def test_a_name_that_this_keras_does_not_have_is_one_line():
    with pytest.raises(UserError) as error:
        private(keras.Sequential(name="mine"), "of_another_version")
    assert str(error.value) == (
        f"keras: expected a version with Sequential.of_another_version ({SUPPORTED} have it), "
        f"received {keras.__version__}"
    )


def test_the_class_that_defines_a_name():
    class Base:
        def _step(self):
            pass

    class Middle(Base):
        def _step(self):
            pass

    class Last(Middle):
        pass

    assert defining_class(Last, "_step") is Middle
    with pytest.raises(UserError, match="with Last.other "):
        defining_class(Last, "other")


def test_a_module_that_this_keras_does_not_have_is_one_line():
    module = private_module("keras.utils")
    assert module is keras.utils
    with pytest.raises(UserError, match="a version with keras.utils.of_another_version "):
        private_module("keras.utils.of_another_version")
    with pytest.raises(UserError, match="a version with keras.utils.of_another_version "):
        private(module, "of_another_version")


@pytest.mark.parametrize("module", [keras.optimizers, optimizers])
def test_arguments_are_read_as_the_classes_have_them(module):
    package = "keras.optimizers" if module is keras.optimizers else module.__name__
    classes = [name for name in public_names(package) if inspect.isclass(getattr(module, name))]
    assert len(classes) > 8
    for name in classes:
        parameters = inspect.signature(getattr(module, name)).parameters.values()
        given = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
        expected = [each.name for each in parameters if each.kind not in given]
        assert list(argument_names(package, name)) == expected


def test_arguments_of_what_is_not_there():
    assert argument_names("keras.optimizers", "Adan") == ()
    assert argument_names("not_installed.optimizers", "Adam") == ()
