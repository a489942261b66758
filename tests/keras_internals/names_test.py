import inspect

import keras
import pytest

from lbkeras import optimizers
from lbkeras.errors import UserError
from lbkeras.keras_internals.model import direction_of
from lbkeras.keras_internals.names import (
    SUPPORTED,
    argument_names,
    arguments_of_every_optimizer,
    class_named,
    defining_class,
    direction,
    private,
    private_module,
    public_names,
    snake_case,
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


def test_arguments_of_missing_names():
    assert argument_names("keras.optimizers", "Adan") == ()
    assert argument_names("not_installed.optimizers", "Adam") == ()


NEEDED = {  # arguments without defaults
    "IoU": dict(num_classes=2, target_class_ids=[0]), "MeanIoU": dict(num_classes=2),
    "OneHotIoU": dict(num_classes=2, target_class_ids=[0]), "OneHotMeanIoU": dict(num_classes=2),
    "PrecisionAtRecall": dict(recall=0.5), "RecallAtPrecision": dict(precision=0.5),
    "SensitivityAtSpecificity": dict(specificity=0.5),
    "SpecificityAtSensitivity": dict(sensitivity=0.5),
}  # fmt: skip


@pytest.mark.parametrize(
    "name",
    [
        name
        for name in public_names("keras.metrics")
        if name[0].isupper() and name not in ("Metric", "MeanMetricWrapper")
    ],
)
def test_directions_are_those_of_the_metrics(name):
    metric = getattr(keras.metrics, name)(**NEEDED.get(name, {}))
    assert direction(name) == direction_of(metric)


def test_names_of_losses_and_metrics_are_those_that_keras_finds():
    for short in ("mse", "MAE", "mape", "msle", "bce", "kld"):
        found = class_named("keras.losses", short)
        assert keras.losses.get(short).__name__ == snake_case(found)
    for name in ("mean_squared_error", "sparse_categorical_crossentropy", "log_cosh"):
        found = getattr(keras.losses, class_named("keras.losses", name))
        assert found().name == name == snake_case(found.__name__)
    assert class_named("keras.metrics", "nothing") is None


def test_what_every_optimizer_takes():
    taken = arguments_of_every_optimizer()
    keras.optimizers.SGD(**{name: None for name in taken if name not in ("learning_rate", "name")})
    assert {"clipnorm", "use_ema", "weight_decay"} < set(taken)
