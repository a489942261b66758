"""The task of a run started from Python: a user's `make_model`, and data in Pipelines."""

import functools
import inspect
from collections.abc import Callable
from typing import Any

import keras

from lbkeras.callbacks.optimizer_settings import base_optimizer, get_momentum
from lbkeras.callbacks.pipeline_callback import sets_learning_rate
from lbkeras.data.pipeline import Pipeline
from lbkeras.errors import UserError
from lbkeras.fingerprint import describe
from lbkeras.keras_internals.model import build
from lbkeras.keras_internals.optimizer import give_learning_rate
from lbkeras.planning.plan import Plan, check_without_momentum
from lbkeras.runs.own_model import OwnModel, Trial
from lbkeras.runs.reading import reading_data

_TEST_BATCH_SIZE = 1000
_SETTINGS = {"model": "make_model", "num_examples": "train", "test_batch_size": "test"}


def as_training_data(train) -> Pipeline:
    """Returns training data as a Pipeline; arrays get Keras' default batch size, 32.

    Raises:
        UserError: the Pipeline is not shuffled, or making one fails as `Pipeline` describes.
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
    """Returns test data as a Pipeline in the source's order.

    Raises:
        UserError: as `Pipeline`.
    """
    if not isinstance(test, Pipeline):
        test = Pipeline(test, _TEST_BATCH_SIZE, shuffle=False)
    return test.in_order(test.batch_size)


class PythonTask:
    """The user's own model with the data, plan and callbacks of one arm.

    The plan's learning rates and momentum replace those of the compiled optimizer. `settings`
    describes model, optimizer, loss, metrics, data, plan and callbacks, so that a folder is resumed
    only with the same ones.

    Args:
        model: the arm's models.
        train: a shuffled Pipeline.
        test: a Pipeline for evaluation, or None.
        plan: the arm's Plan.
        make_callbacks: takes the arm's Pipeline and returns the callbacks to add to those that
            every run has; None adds none.

    Raises:
        UserError: the plan is for another number of examples.
    """

    num_nodes = None

    def __init__(
        self,
        model: OwnModel,
        train: Pipeline,
        test: Pipeline | None,
        plan: Plan,
        make_callbacks: Callable[[Pipeline], list] | None = None,
    ):
        self._model = model
        self._train, self._test = train, test
        self._make_callbacks = make_callbacks
        self.plan = plan
        if plan.num_examples != train.num_examples:
            raise UserError(
                f"plan: expected one for {train.num_examples} examples (train's), received one for "
                f"{plan.num_examples}"
            )

    @property
    def trial(self) -> Trial:
        """What is known of the model before it is trained."""
        return self._model.trial

    def check(self) -> None:
        """Tries everything that can be tried before training.

        Raises:
            UserError: as `OwnModel.trial`; or the plan sets a momentum and the optimizer has none;
                or one of the callbacks is not allowed in a run.
        """
        compiled = self.trial.compiled
        if compiled["momentum"] is None:
            check_without_momentum(self.plan, compiled["optimizer"])
        self.settings  # noqa: B018  makes the callbacks and so checks them

    @functools.cached_property
    def settings(self) -> dict:
        first = self.plan.phases[0]
        return {
            **self.trial.settings,
            "data": self._train.fingerprint(),
            "test_data": {} if self._test is None else self._test.fingerprint(),
            "plan": {"batch_size": first.batch_size, "learning_rate": first.learning_rate}
            | self.plan.to_dict(),
            "callbacks": self._described_callbacks(),
        }

    def pipelines(self, seed: int):
        """Returns the training Pipeline at the plan's first batch size, and the test Pipeline."""
        return self._train.copy(self.plan.phases[0].batch_size, seed), self._test

    def compiled_model(self, plan, strategy, train, *, steered=False):
        """Makes and builds a model with a plan's learning rates and momentum.

        Like `build.compiled_model`, but `steps_per_execution` is what the user compiled it with.
        """
        with strategy.scope():
            model = self._model.new()
            optimizer = base_optimizer(model.optimizer)
            if get_momentum(optimizer) is not None:
                optimizer.momentum = plan.phases[0].momentum
            first = plan.phases[0].learning_rate
            give_learning_rate(optimizer, first if steered else plan.learning_rate_schedule())
            build(model, next(iter(train.dataset())))
        return model

    def callbacks(self, folder, *, pipeline, **known) -> list:
        """Makes the arm's own callbacks for a Pipeline."""
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
                f"received one that returned {made!r}"
            )
        for each in made:
            _check_callback(each)
        return list(made)

    def own_code(self) -> dict[str, str]:
        """Returns {}: `settings` already describes the code."""
        return {}

    def reading_data(self):
        """Returns a context in which an error of reading names `train or test`."""
        return reading_data("train or test")

    def setting(self, key: str) -> tuple[str, Any]:
        """Returns a setting's name for the user, and its value; as `ConfigTask.setting`."""
        values = {
            "model": getattr(self._model.make_model, "__qualname__", ""),
            "num_examples": self._train.num_examples,
            "test_batch_size": self._test.batch_size if self._test is not None else None,
        }
        return _SETTINGS[key], values[key]

    def _described_callbacks(self) -> dict[str, Any]:
        train, _ = self.pipelines(seed=0)
        one, other = (self.callbacks(None, pipeline=train) for _ in "ab")
        if {id(each) for each in one} & {id(each) for each in other}:
            raise UserError(
                "callbacks: expected a function that makes new callbacks at each call, received "
                "one that returns the same ones again"
            )
        chosen = [_without_places(each) for each in _alike(describe(one), describe(other))]
        return {str(number): each for number, each in enumerate(chosen)}


def _check_callback(callback) -> None:
    """Refuses a callback that would do what a run does itself, before anything is trained.

    Raises:
        UserError: the callback sets the learning rate, has a plan of its own, or restores a run.
    """
    name = type(callback).__name__
    if sets_learning_rate(callback) and not getattr(callback, "owns_learning_rate", False):
        raise UserError(
            f"callbacks: expected only the plan to set the learning rate, received {name}, which "
            "sets it too"
        )
    if isinstance(getattr(callback, "schedule", None), Plan):
        raise UserError(
            "callbacks: expected the Plan to be given as the arm or as the arm's `plan`, received "
            f"it in a {name}"
        )
    if isinstance(callback, keras.callbacks.BackupAndRestore):
        raise UserError(
            f"callbacks: expected none that restores (runs resume by themselves), received {name}"
        )


# Attributes with the paths to which Keras' callbacks write, which often contain the time.
_PLACES = ("log_dir", "_log_write_dir", "filepath", "filename", "_curr_trial_dir")


def _without_places(described: dict) -> dict:
    if not described["class"].startswith("keras."):
        return described
    config = {key: each for key, each in described["config"].items() if key not in _PLACES}
    return described | {"config": config}


def _alike(first, second):
    """Returns what two descriptions have in common, which leaves out, for example, the time."""
    if isinstance(first, dict) and isinstance(second, dict):
        return {k: _alike(v, second[k]) for k, v in first.items() if k in second}
    if isinstance(first, list) and isinstance(second, list) and len(first) == len(second):
        return [_alike(a, b) for a, b in zip(first, second, strict=True)]
    return first if first == second else None
