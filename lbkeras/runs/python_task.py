"""What a run trains where Python functions say it: a model of one's own, data in Pipelines."""

import contextlib
import dataclasses
import functools
import inspect
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
from lbkeras.callbacks.pipeline_callback import sets_learning_rate
from lbkeras.data.pipeline import Pipeline
from lbkeras.data.reading import error_of_data
from lbkeras.errors import UserError
from lbkeras.fingerprint import describe, digest_of, without_numbers
from lbkeras.keras_internals.model import better_direction, build, compile_arguments, layers
from lbkeras.keras_internals.optimizer import give_learning_rate, learning_rate_of
from lbkeras.metrics import of as metrics_of
from lbkeras.planning.plan import Plan, check_without_momentum
from lbkeras.runs.components import said_of
from lbkeras.runs.train_section import keras_session

_TEST_BATCH_SIZE = 1000
_EXAMPLES_OF_A_TRIAL = 16
_SETTINGS = {"model": "make_model", "num_examples": "train", "test_batch_size": "test"}


def as_training_data(train) -> Pipeline:
    """Training data as a Pipeline; of arrays with Keras' own default batch size, 32.

    Raises:
        UserError: they are not shuffled, or as `Pipeline`.
    """
    if not isinstance(train, Pipeline):
        train = Pipeline(train, 1)
        train.batch_size = min(32, train.num_examples)
    if not train.shuffle:
        raise UserError(
            "train: expected a Pipeline with shuffle=True, received one that is not shuffled"
        )
    return train


def as_test_data(test) -> Pipeline:
    """Data to evaluate on, as a Pipeline in the source's order.

    Raises:
        UserError: as `Pipeline`.
    """
    if not isinstance(test, Pipeline):
        test = Pipeline(test, _TEST_BATCH_SIZE, shuffle=False)
    return test.in_order(test.batch_size)


def compiled_settings(make_model) -> dict:
    """What the optimizer of a new model has, as `PythonTask.replaced`.

    Raises:
        UserError: `make_model` makes no compiled model, or one whose optimizer is built.
    """
    return _compiled_with(_new_model(make_model))


def _compiled_with(model) -> dict:
    optimizer = base_optimizer(model.optimizer)
    rate = learning_rate_of(optimizer)
    schedule = isinstance(rate, keras.optimizers.schedules.LearningRateSchedule)
    return {
        "optimizer": type(optimizer).__name__,
        "learning_rate": type(rate).__name__ if schedule else last_learning_rate(optimizer),
        "momentum": get_momentum(optimizer),
    }


def _new_model(make_model):
    if not callable(make_model) or isinstance(make_model, keras.Model):
        raise UserError(
            "make_model: expected a function that returns a compiled model, received "
            f"{make_model!r}"
        )
    model = make_model()
    if not isinstance(model, keras.Model) or not getattr(model, "compiled", False):
        received = "one that is not compiled" if isinstance(model, keras.Model) else repr(model)
        raise UserError(f"make_model: expected a compiled keras.Model, received {received}")
    check_no_accumulation(model.optimizer, "lbkeras.compare and lbkeras.advise")
    if type(model).train_step is not keras.Model.train_step:
        raise UserError(
            "make_model: expected a model with Keras' own train_step, which micro-batches replace, "
            f"received {type(model).__name__} with another"
        )
    if base_optimizer(model.optimizer).built:
        raise UserError(
            "make_model: expected a new optimizer at each call, received one that has been built; "
            "make it inside the function"
        )
    return model


class PythonTask:
    """What a model of one's own trains: data, plan and callbacks of one arm.

    The plan's learning rates and momentum take the place of the compiled optimizer's. `settings`
    describe model, optimizer, loss, metrics, data, plan and callbacks, so that a folder is resumed
    with the same only.

    Args:
        make_model: makes a compiled `keras.Model`, a new one at each call.
        train: a shuffled Pipeline.
        test: a Pipeline for evaluation, or None.
        plan: the arm's Plan.
        make_callbacks: from the arm's Pipeline to the callbacks that steer and measure beside those
            of every run; None: no others.

    Attributes:
        replaced: what the compiled optimizer had: `optimizer`, its class' name, `learning_rate` (of
            a schedule its class' name) and `momentum`.
        metrics: names of what an evaluation logs.
        better: of each of them "higher", "lower", or None where Keras does not say it.

    Raises:
        UserError: `make_model` makes no compiled model or the same one again, its optimizer is
            built or has another momentum than the plan can set, or a batch cannot be evaluated.
    """

    num_nodes = None

    def __init__(
        self,
        make_model: Callable[[], Any],
        train: Pipeline,
        test: Pipeline | None,
        plan: Plan,
        make_callbacks: Callable[[Pipeline], list] | None = None,
    ):
        self._make_model = make_model
        self._train, self._test = train, test
        self._make_callbacks = make_callbacks
        self.plan = plan
        if plan.num_examples != train.num_examples:
            raise UserError(
                f"plan: expected one for {train.num_examples} examples, as train has, received "
                f"{plan.num_examples}"
            )

    @property
    def settings(self) -> dict:
        return self._trial.settings

    @property
    def metrics(self) -> list[str]:
        return self._trial.metrics

    @property
    def better(self) -> dict[str, str | None]:
        return self._trial.better

    @property
    def replaced(self) -> dict:
        return self._trial.replaced

    def pipelines(self, seed: int):
        """The training Pipeline at the plan's first batch size, and the one to evaluate on."""
        return self._train.copy(self.plan.phases[0].batch_size, seed), self._test

    def compiled_model(self, plan, strategy, train, *, steered=False):
        """A new model with a plan's learning rates and momentum, built; as `build.compiled_model`.

        How many updates a call takes is what it was compiled with.
        """
        for variable, value in self._trial.shared:
            variable.assign(value)
        with strategy.scope():
            model = _new_model(self._make_model)
            self._install(model, plan, steered)
            build(model, next(iter(train.dataset())))
        return model

    def callbacks(self, folder, *, pipeline, **known) -> list:
        """The arm's own callbacks for a Pipeline."""
        if self._make_callbacks is None:
            return []
        try:
            inspect.signature(self._make_callbacks).bind(pipeline)
        except TypeError:
            raise UserError(
                "callbacks: expected a function of one argument, the arm's Pipeline, received "
                f"{self._make_callbacks!r}"
            ) from None
        made = self._make_callbacks(pipeline)
        if not isinstance(made, list | tuple) or not all(
            isinstance(each, keras.callbacks.Callback) for each in made
        ):
            raise UserError(
                "callbacks: expected a function from a Pipeline to a list of Keras callbacks, "
                f"which returned {made!r}"
            )
        for each in made:
            _check_callback(each)
        return list(made)

    def own_code(self) -> dict[str, str]:
        """Nothing: the code is in `settings`."""
        return {}

    @contextlib.contextmanager
    def reading_data(self):
        """Says of data that cannot be read that they are `train` or `test`."""
        try:
            yield
        except Exception as error:
            found = error_of_data("train or test", error)
            if found is None:
                raise
            raise found from error

    def setting(self, key: str) -> tuple[str, Any]:
        """A setting as the user names it, and its value; as `ConfigTask.setting`."""
        values = {
            "model": getattr(self._make_model, "__qualname__", self._make_model),
            "num_examples": self._train.num_examples,
            "test_batch_size": self._test.batch_size if self._test is not None else None,
        }
        return _SETTINGS[key], values[key]

    def _install(self, model, plan: Plan, steered: bool) -> None:
        """Puts a plan's learning rates and momentum in the place of the optimizer's."""
        optimizer = base_optimizer(model.optimizer)
        if get_momentum(optimizer) is None:
            check_without_momentum(plan, type(optimizer).__name__)
        else:
            optimizer.momentum = plan.phases[0].momentum
        first = plan.phases[0].learning_rate
        give_learning_rate(optimizer, first if steered else plan.learning_rate_schedule())
        model.train_function = None

    @functools.cached_property
    def _trial(self) -> "_Trial":
        """A model that is made, evaluated on a few examples, and described."""
        with keras_session({}, seed=0):  # names of layers begin anew
            return self._tried()

    def _tried(self) -> "_Trial":
        model = _new_model(self._make_model)
        replaced = _compiled_with(model)
        self._install(model, self.plan, steered=False)
        weights = digest_of([array_of(weight) for weight in self._built(model).weights])
        keras.utils.set_random_seed(0)
        again = self._built(_new_model(self._make_model))
        same = weights == digest_of([array_of(weight) for weight in again.weights])
        shared = self._shared(model, again)
        metrics = self._evaluate(model)
        better = {n: better_direction(model, n) or metrics_of(n).better for n in metrics}
        settings = self._describe(model)
        settings["model"]["weights"] = weights if same else ""
        return _Trial(settings, list(metrics), better, replaced, shared)

    def _built(self, model):
        build(model, next(iter(self._train.dataset())))
        return model

    def _shared(self, model, again) -> list[tuple]:
        """What both models have of one that was made outside, with its values: each run's first.

        Raises:
            UserError: it is trained.
        """
        variables = {id(variable) for variable in model.variables}
        shared = [variable for variable in again.variables if id(variable) in variables]
        trained = {id(variable) for variable in again.trainable_variables}
        if any(id(variable) in trained for variable in shared):
            raise UserError(
                "make_model: expected a new model at each call, received one that shares trained "
                "weights with the one before; make its layers inside the function"
            )
        return [(variable, array_of(variable)) for variable in shared]

    def _evaluate(self, model) -> dict[str, float]:
        """Evaluates a few examples, so that what does not fit together is found before training."""
        data = self._train if self._test is None else self._test
        number = min(_EXAMPLES_OF_A_TRIAL, data.num_examples)
        try:
            with self.reading_data():
                return model.evaluate(data.in_order(number, number), verbose=0, return_dict=True)
        except Exception as error:
            if isinstance(error, UserError) or type(error).__name__ == "ResourceExhaustedError":
                raise
            raise UserError(
                "make_model: expected a model whose outputs its loss and metrics take, and that "
                f"takes the data, received: {said_of(error)}"
            ) from error

    def _describe(self, model) -> dict:
        arguments = compile_arguments(model)
        base = base_optimizer(model.optimizer)
        optimizer = describe(base)
        for name in ("learning_rate", "momentum"):
            optimizer["config"].pop(name, None)
        first = self.plan.phases[0]
        train, _ = self.pipelines(seed=0)
        one, other = (self.callbacks(None, pipeline=train) for _ in "ab")
        if {id(each) for each in one} & {id(each) for each in other}:
            raise UserError(
                "callbacks: expected a function that makes new callbacks at each call, received "
                "one that returns the same again"
            )
        chosen = [_without_places(each) for each in _alike(describe(one), describe(other))]
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
            "data": self._train.fingerprint(),
            "test_data": {} if self._test is None else self._test.fingerprint(),
            "plan": {"batch_size": first.batch_size, "learning_rate": first.learning_rate}
            | self.plan.to_dict(),
            "callbacks": {str(number): each for number, each in enumerate(chosen)},
        }


@dataclasses.dataclass(frozen=True)
class _Trial:
    settings: dict
    metrics: list[str]
    better: dict[str, str | None]
    replaced: dict
    shared: list[tuple]


def _layers_of(model) -> Any:
    """What a model is made of: each layer's class, code, configuration and attributes."""
    usual = keras.Model()
    usual.compile("sgd", "mse")
    described = [describe(layer) for layer in layers(model)]
    for each in described:
        config = each["config"]
        each["config"] = {name: config[name] for name in config if name not in vars(usual)}
    weights = [[list(variable.shape), str(variable.dtype)] for variable in model.variables]
    return without_numbers([described, weights])


def _check_callback(callback) -> None:
    """Refuses, before anything is trained, a callback that a run cannot have.

    Raises:
        UserError: it sets the learning rate, which the plan does, it has a plan of its own, or it
            restores what the run's checkpoints do.
    """
    name = type(callback).__name__
    if sets_learning_rate(callback) and not getattr(callback, "owns_learning_rate", False):
        raise UserError(
            f"callbacks: expected the learning rate in the arm's plan, received {name}, which sets "
            "it too"
        )
    if isinstance(getattr(callback, "schedule", None), Plan):
        raise UserError(
            f"callbacks: expected a Plan as the arm itself or its `plan`, received it in a {name}"
        )
    if isinstance(callback, keras.callbacks.BackupAndRestore):
        raise UserError(
            f"callbacks: expected none that restores, as a run resumes by itself, received {name}"
        )


# Where Keras' callbacks write, which often has the time in it.
_PLACES = ("log_dir", "_log_write_dir", "filepath", "filename", "_curr_trial_dir")


def _without_places(described: dict) -> dict:
    if not described["class"].startswith("keras."):
        return described
    config = {key: each for key, each in described["config"].items() if key not in _PLACES}
    return described | {"config": config}


def _alike(first, second):
    """What two descriptions have in common: not the time at which they were made, for example."""
    if isinstance(first, dict) and isinstance(second, dict):
        return {k: _alike(v, second[k]) for k, v in first.items() if k in second}
    if isinstance(first, list) and isinstance(second, list) and len(first) == len(second):
        return [_alike(a, b) for a, b in zip(first, second, strict=True)]
    return first if first == second else None
