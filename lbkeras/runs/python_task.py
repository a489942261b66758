"""What a run trains where Python functions say it: a model of one's own, data in Pipelines."""

import contextlib
import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import keras

from lbkeras.callbacks.optimizer_settings import base_optimizer, get_momentum, last_learning_rate
from lbkeras.data.pipeline import Pipeline
from lbkeras.data.reading import error_of_data
from lbkeras.errors import UserError
from lbkeras.fingerprint import describe, digest_of
from lbkeras.keras_internals.model import better_direction, build, compile_arguments
from lbkeras.keras_internals.optimizer import give_learning_rate, learning_rate_of
from lbkeras.metrics import of as metrics_of
from lbkeras.planning.plan import Plan, check_without_momentum
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
        with strategy.scope():
            model = _new_model(self._make_model)
            self._install(model, plan, steered)
            build(model, next(iter(train.dataset())))
        return model

    def callbacks(self, folder, *, pipeline, **known) -> list:
        """The arm's own callbacks for a Pipeline."""
        if self._make_callbacks is None:
            return []
        made = self._make_callbacks(pipeline)
        if not isinstance(made, list | tuple) or not all(
            isinstance(each, keras.callbacks.Callback) for each in made
        ):
            raise UserError(
                "callbacks: expected a function from a Pipeline to a list of Keras callbacks, "
                f"which returned {made!r}"
            )
        return list(made)

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
        data = self._train if self._test is None else self._test
        number = min(_EXAMPLES_OF_A_TRIAL, data.num_examples)
        with self.reading_data():
            metrics = model.evaluate(data.in_order(number, number), verbose=0, return_dict=True)
        trained = {id(variable) for variable in model.trainable_variables}
        again = _new_model(self._make_model)
        if any(id(variable) in trained for variable in again.trainable_variables):
            raise UserError(
                "make_model: expected a new model at each call, received one that shares trained "
                "weights with the one before; make its layers inside the function"
            )
        better = {n: metrics_of(n).better or better_direction(model, n) for n in metrics}
        return _Trial(self._describe(model), list(metrics), better, replaced)

    def _describe(self, model) -> dict:
        arguments = compile_arguments(model)
        optimizer = describe(base_optimizer(model.optimizer))
        for name in ("learning_rate", "momentum"):
            optimizer["config"].pop(name, None)
        first = self.plan.phases[0]
        train, _ = self.pipelines(seed=0)
        chosen = _alike(*(describe(self.callbacks(None, pipeline=train)) for _ in "ab"))
        return {
            "model": {
                "name": type(model).__name__,
                "parameters": model.count_params(),
                "precision": keras.config.dtype_policy().name,
                "hash": digest_of(_layers_of(model)),
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


def _layers_of(model) -> list:
    """What a model is made of: its configuration, else its code and its attributes; its weights."""
    config = describe(model)["config"]
    own = {name: value for name, value in config.items() if name not in vars(keras.Model())}
    weights = [[list(variable.shape), str(variable.dtype)] for variable in model.variables]
    return [describe(type(model)), describe(model).get("code"), own, weights]


def _alike(first, second):
    """What two descriptions have in common: not the time at which they were made, for example."""
    if isinstance(first, dict) and isinstance(second, dict):
        return {k: _alike(v, second[k]) for k, v in first.items() if k in second}
    if isinstance(first, list) and isinstance(second, list) and len(first) == len(second):
        return [_alike(a, b) for a, b in zip(first, second, strict=True)]
    return first if first == second else None
