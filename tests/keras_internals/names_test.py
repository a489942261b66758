import keras
import pytest

from lbkeras.errors import UserError
from lbkeras.keras_internals.names import SUPPORTED, defining_class, private


def test_a_private_name_is_read():
    assert private(keras.Sequential(), "_flatten_layers")() != []


def test_a_name_that_this_keras_does_not_have_is_one_line():
    with pytest.raises(UserError) as error:
        private(keras.Sequential(name="mine"), "_of_another_version")
    assert str(error.value) == (
        f"keras: expected a version with Sequential._of_another_version ({SUPPORTED} have it), "
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
    with pytest.raises(UserError, match="with Last._other "):
        defining_class(Last, "_other")
