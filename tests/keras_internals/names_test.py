import keras
import pytest

from lbkeras.errors import UserError
from lbkeras.keras_internals.names import SUPPORTED, defining_class, private, private_module


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
