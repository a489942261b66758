"""Makes the models of a user's function; tries one on a few examples and describes it."""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import keras

from lbkeras.callbacks.checkpoint_contents import array_of
from lbkeras.callbacks.optimizer_settings import (
    base_optimizer,
    check_no_accumulation,
    get_momentum,
    last_learning_rate,
)
from lbkeras.data.pipeline import Pipeline
from lbkeras.errors import UserError
from lbkeras.fingerprint import describe, digest_of, without_numbers
from lbkeras.keras_internals.model import better_direction, build, compile_arguments, layers
from lbkeras.keras_internals.optimizer import learning_rate_of
from lbkeras.metrics import of as metrics_of
from lbkeras.runs.train_section import keras_session
from lbkeras.runs.trial import evaluate_a_few, fitting_together


@dataclasses.dataclass(frozen=True)
class Trial:
    """What is known of a model before it is trained.

    Attributes:
        settings: sections that describe model, compilation, optimizer, loss and metrics.
        better: which is better for each metric that an evaluation logs: "higher", "lower", or None
            if neither Keras nor lbkeras knows.
        compiled: the optimizer's values: `optimizer` (its class name), `learning_rate` (for a
            schedule its class name) and `momentum` (None if it has none).
        shared: `(variable, value)` of layers that are made outside the function.
    """

    settings: dict[str, dict]
    better: dict[str, str | None]
    compiled: dict[str, Any]
    shared: list[tuple]


class OwnModel:
    """A function that makes a compiled model, and the data on which the model is tried.

    Args:
        make_model: makes a new compiled `keras.Model` at each call.
        train: a shuffled Pipeline.
        test: a Pipeline for evaluation, or None.
    """

    def __init__(self, make_model: Callable[[], Any], train: Pipeline, test: Pipeline | None):
        self.make_model = make_model
        self._train = train
        self._test = test

    def new(self):
        """Makes a new model, compiled but not built, and resets variables shared by all models.

        Raises:
            UserError: as `trial`.
        """
        for variable, value in self.trial.shared:
            variable.assign(value)
        return self._made()

    @functools.cached_property
    def trial(self) -> Trial:
        """Makes two models, compares their initial weights and evaluates one of them.

        Raises:
            UserError: the function returns no compiled model or the same one again, or the model
                cannot be trained in micro-batches or does not take the data.
        """
        session = keras_session({}, seed=0)  # layer names start again
        with session, fitting_together("make_model", "train or test"):
            return self._tried()

    def _tried(self) -> Trial:
        model = self._made()
        compiled = _compiled_with(model)
        weights = self._weights_of(model)
        keras.utils.set_random_seed(0)
        again = self._made()
        same = weights == self._weights_of(again)
        shared = _shared(model, again)
        metrics = evaluate_a_few(model, self._train)
        if self._test is not None:
            metrics = evaluate_a_few(model, self._test)
        settings = _describe(model)
        settings["model"]["weights"] = weights if same else ""  # "": drawn anew in each model
        better = {n: better_direction(model, n) or metrics_of(n).better for n in metrics}
        return Trial(settings, better, compiled, shared)

    def _made(self):
        if not callable(self.make_model) or isinstance(self.make_model, keras.Model):
            raise UserError(
                "make_model: expected a function that returns a compiled model, received "
                f"{self.make_model!r}"
            )
        model = self.make_model()
        if not isinstance(model, keras.Model) or not getattr(model, "compiled", False):
            received = "one that is not compiled" if isinstance(model, keras.Model) else repr(model)
            raise UserError(f"make_model: expected a compiled keras.Model, received {received}")
        check_no_accumulation(model.optimizer, "lbkeras.compare or lbkeras.advise")
        if type(model).train_step is not keras.Model.train_step:
            raise UserError(
                "make_model: expected a model with Keras' own train_step, which micro-batches "
                f"replace, received {type(model).__name__}, which has its own"
            )
        if base_optimizer(model.optimizer).built:
            raise UserError(
                "make_model: expected a new optimizer at each call, received one that has been "
                "built; make it inside the function"
            )
        return model

    def _weights_of(self, model) -> str:
        build(model, next(iter(self._train.dataset())))
        return digest_of([array_of(weight) for weight in model.weights])


def _compiled_with(model) -> dict:
    optimizer = base_optimizer(model.optimizer)
    rate = learning_rate_of(optimizer)
    schedule = isinstance(rate, keras.optimizers.schedules.LearningRateSchedule)
    return {
        "optimizer": type(optimizer).__name__,
        "learning_rate": type(rate).__name__ if schedule else last_learning_rate(optimizer),
        "momentum": get_momentum(optimizer),
    }


def _shared(model, again) -> list[tuple]:
    variables = {id(variable) for variable in model.variables}
    shared = [variable for variable in again.variables if id(variable) in variables]
    trained = {id(variable) for variable in again.trainable_variables}
    if any(id(variable) in trained for variable in shared):
        raise UserError(
            "make_model: expected a new model at each call, received one that shares trainable "
            "weights with the one before; make its layers inside the function"
        )
    return [(variable, array_of(variable)) for variable in shared]


def _describe(model) -> dict[str, dict]:
    arguments = compile_arguments(model)
    base = base_optimizer(model.optimizer)
    optimizer = describe(base)
    for name in ("learning_rate", "momentum"):  # the plan's
        optimizer["config"].pop(name, None)
    return {
        "model": {
            "name": type(model).__name__,
            "parameters": model.count_params(),
            "precision": keras.config.dtype_policy().name,
            "hash": digest_of(_layers_of(model)),
        },
        "compile": {
            "jit_compile": bool(model.jit_compile),
            "loss_scaling": model.optimizer is not base,
        },
        "optimizer": {"name": optimizer["class"], **optimizer["config"]},
        "loss": {name: describe(arguments[name]) for name in ("loss", "loss_weights")},
        "metrics": {n: describe(arguments[n]) for n in ("metrics", "weighted_metrics")},
    }


def _layers_of(model) -> Any:
    """Describes a model: each layer's class, code, configuration and attributes."""
    usual = keras.Model()
    usual.compile("sgd", "mse")
    described = [describe(layer) for layer in layers(model)]
    for each in described:
        config = each["config"]
        each["config"] = {name: config[name] for name in config if name not in vars(usual)}
    weights = [[list(variable.shape), str(variable.dtype)] for variable in model.variables]
    return without_numbers([described, weights])
