"""Changes the batch size between the epochs of one `model.fit`."""

import math
from collections.abc import Callable
from typing import TYPE_CHECKING

import keras

from lbkeras import checks
from lbkeras.callbacks.fit_summary import FitSummary
from lbkeras.callbacks.losses_of_pairs import check_losses
from lbkeras.callbacks.optimizer_settings import (
    MOMENTUM,
    SAVED_RATE,
    base_optimizer,
    borrow_momentum,
    check_momentum,
    check_no_accumulation,
    get_momentum,
    last_learning_rate,
    next_learning_rate,
    put_learning_rate,
    restore_learning_rate,
    save_own_rate,
    save_present_rate,
    set_momentum,
    take_back_schedule,
)
from lbkeras.callbacks.pipeline_callback import PipelineCallback, sets_learning_rate
from lbkeras.errors import UserError
from lbkeras.keras_internals.backend import count_devices, on_jax
from lbkeras.keras_internals.borrowed import borrow, give_back
from lbkeras.keras_internals.optimizer import learning_rate_of
from lbkeras.keras_internals.running_call import callbacks_of, running_call
from lbkeras.planning.plan import Plan
from lbkeras.planning.replicas import check_replicas, replica_batch_size
from lbkeras.schedules.epoch_learning_rate import EpochLearningRateSchedule
from lbkeras.schedules.steered_learning_rate import SteeredLearningRate

if TYPE_CHECKING:
    from lbkeras.data.pipeline import Pipeline


class _EpochIsOver:
    """The value of `model.stop_training` while this callback ends an epoch; truthy like True."""

    def __repr__(self):
        return "epoch is over"


_EPOCH_IS_OVER = _EpochIsOver()


class BatchSizeScheduler(PipelineCallback):
    """Gives each epoch of one `fit` its own batch size, from its first step to its last.

    No steps are lost, cut short or added, whether the batch grows or shrinks. Optimizer slots and
    other callbacks keep their state, as in any `fit`. A Plan also sets the momentum of each phase;
    when it changes, the train function is traced again once. The plan's learning rate is
    `plan.learning_rate_schedule()`, which you pass to the optimizer. Steps that loss scaling skips
    do not advance that schedule, but each epoch still begins at its own learning rate (TensorFlow
    backend).

    Logs `batch_size` (examples per update, all replicas together). At the end, unless
    `fit(verbose=0)` is used, prints the number of updates, the seconds of training and the number
    of examples; if the batch size changed, also how many updates and seconds the first one would
    have taken throughout. A `ProgressBar` for many short runs suppresses this line. Costs one clock
    reading per step; the first epoch at a new batch size traces the model once more. On Keras' JAX
    backend the step is compiled for a Plan's later batch sizes while earlier epochs run.

    Args:
        pipeline: the `lbkeras.data.Pipeline` that is passed to `fit` as `x`.
        schedule: a `lbkeras.planning.Plan`, or a function `(epoch, batch_size) -> batch_size` that
            receives the current size, as in `keras.callbacks.LearningRateScheduler`.
        verbose: 1 prints a line whenever the batch size changes, with the learning rate if that
            changes too.

    Raises:
        UserError: the optimizer's learning rate is not the plan's and no callback sets it; a batch
            size is not an integer from 1 to `pipeline.num_examples` or not divisible by the number
            of replicas; the plan is for another number of examples, does not have the optimizer's
            momentum (0 for one without momentum, such as Adam), changes the momentum from or to 0,
            or ends before `fit` does; a function is used with BackupAndRestore.

    Example:

    >>> import keras
    >>> import numpy as np
    >>> from lbkeras.data import Pipeline
    >>> train = Pipeline((np.zeros((64, 4)), np.zeros(64)), batch_size=8)
    >>> model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(1)])
    >>> model.compile("sgd", "mse")
    >>> double = BatchSizeScheduler(train, lambda epoch, batch_size: 8 * 2**epoch)
    >>> model.fit(train, epochs=3, verbose=0, callbacks=[double]).history["batch_size"]
    [8, 16, 32]

    Reference: Smith, Kindermans, Ying, Le, "Don't decay the learning rate, increase the batch
    size", arXiv:1711.00489, section 3.
    """

    owns_batch_size = True

    def __init__(
        self, pipeline: "Pipeline", schedule: Plan | Callable[[int, int], int], verbose: int = 0
    ):
        super().__init__(pipeline)
        if not isinstance(schedule, Plan) and not callable(schedule):
            raise UserError(
                "schedule: expected a Plan or a function (epoch, batch_size) -> batch_size, "
                f"received {schedule!r}"
            )
        self.schedule = schedule
        self.verbose = checks.integer(
            "verbose", +verbose if isinstance(verbose, bool) else verbose, minimum=0
        )
        self._steered = None
        self._compiled_with = None
        self._summary = FitSummary()
        self._forget_epoch()
        if isinstance(schedule, Plan) and schedule.num_examples != pipeline.num_examples:
            raise UserError(
                f"schedule: expected a plan for {pipeline.num_examples} examples (the pipeline's), "
                f"received one for {schedule.num_examples}"
            )

    def set_model(self, model):
        super().set_model(model)
        self.pipeline.use_strategy(getattr(model, "distribute_strategy", None))
        optimizer = base_optimizer(model.optimizer)
        if isinstance(self.schedule, Plan):
            take_back_schedule(optimizer, self.schedule.learning_rate_schedule())
        self._steered = self._install_learning_rate(model)
        if isinstance(learning_rate_of(optimizer), EpochLearningRateSchedule):
            save_present_rate(optimizer)
            borrow(model, SAVED_RATE, lambda: save_own_rate(optimizer))

    def _install_learning_rate(self, model):
        """With loss scaling, replaces the plan's schedule with one set anew at each epoch.

        A loss-scaling wrapper skips steps, and its optimizer counts only the updates it makes.
        """
        optimizer = base_optimizer(model.optimizer)
        if optimizer is model.optimizer or keras.backend.backend() != "tensorflow":
            return None
        rate = learning_rate_of(optimizer)
        rate = getattr(rate, "number", rate)  # set by another callback, which is refused later
        if not isinstance(self.schedule, Plan) or not isinstance(rate, EpochLearningRateSchedule):
            return None
        return put_learning_rate(model, rate, rate.curve, type(self).__name__)

    @property
    def needs_checkpoint(self) -> bool:
        """Whether the next size depends on the current one; with a Plan it does not."""
        return not isinstance(self.schedule, Plan)

    def begin_anew(self):
        super().begin_anew()
        self._forget_epoch()

    def _forget_epoch(self):
        # A checkpoint keeps these, to resume inside the epoch.
        self.present_epoch = -1
        self.first_update = 0  # of that epoch

    def on_train_begin(self, logs=None):
        super().on_train_begin(logs)
        self._summary = FitSummary()
        self._compiled_with = None
        borrow_momentum(self.model)
        if isinstance(self.schedule, Plan):
            self._check_plan(self.schedule)
        if self._num_replicas() > 1:
            check_no_accumulation(self.model.optimizer, "several replicas")
            check_losses(self.model, self.pipeline, "replicas")

    def on_train_end(self, logs=None):
        if self._steered is not None:
            restore_learning_rate(self.model, self._steered)
        for name in (MOMENTUM, SAVED_RATE):
            give_back(self.model, name)
        others = callbacks_of(running_call(self.model)[1])
        if self._speaks() and not any(map(_shows_many_runs, others)):
            line = self._summary.line(self._first_batch_size(), self._steps_at)
            resumed = running_call(self.model)[1].get("initial_epoch", 0)
            if line:
                self._say(f"since the resume: {line}" if resumed else line)

    def _first_batch_size(self) -> int | None:
        """Returns the batch size that the summary compares with; None: the first of this `fit`."""
        return self.schedule.batch_size(0) if isinstance(self.schedule, Plan) else None

    def _steps_at(self, batch_size: int) -> int:
        steps = self.pipeline.num_examples / batch_size
        return math.floor(steps) if self.pipeline.shuffle else math.ceil(steps)

    def on_epoch_begin(self, epoch, logs=None):
        before = self.pipeline.batch_size
        rate = last_learning_rate(self.model.optimizer) if self.verbose else None
        self.pipeline.begin_epoch(epoch, self._size(epoch))
        replica_batch_size(self.pipeline.batch_size, self._num_parts())
        if isinstance(self.schedule, Plan):
            self._follow_momentum(self.schedule.momentum(epoch))
        if self.pipeline.batch_size != before and keras.backend.backend() == "tensorflow":
            # Else TensorFlow would retrace the function for any batch size, whereas a run resumed
            # here traces it for this one; the two round their sums differently.
            self.model.make_train_function(force=True)
        if epoch != self.present_epoch:  # equal if a checkpoint was restored inside this epoch
            iterations = base_optimizer(self.model.optimizer).iterations
            self.present_epoch = epoch
            self.first_update = int(keras.ops.convert_to_numpy(iterations))
        self._set_learning_rate(epoch)
        if self.verbose and self.pipeline.batch_size != before:
            rates = [f"{each:.4g}" for each in (rate, next_learning_rate(self.model.optimizer))]
            change = f", learning rate {' -> '.join(rates)}" if rates[0] != rates[1] else ""
            sizes = f"batch size {before} -> {self.pipeline.batch_size}"
            self._say(f"Epoch {epoch + 1}: {sizes}{change}{self._reason()}")
        if on_jax():
            self._compile_coming(epoch)
        self._summary.begin_epoch(self.pipeline.batch_size)

    def _compile_coming(self, epoch: int) -> None:
        """Compiles the step for the Plan's next batch sizes while earlier epochs run."""
        if not isinstance(self.schedule, Plan):
            return
        from lbkeras.keras_internals.jax_trainer import compile_ahead

        momentum = self.schedule.momentum(epoch)  # a constant of the compiled program
        if momentum == self._compiled_with:
            return
        self._compiled_with = momentum
        sizes = []
        for later in range(epoch, (self.params or {}).get("epochs", 0)):
            if self.schedule.momentum(later) != momentum:
                break
            sizes.append(self.schedule.batch_size(later))
        for size in dict.fromkeys(sizes):
            if size != self.pipeline.batch_size:
                compile_ahead(self.model, self.pipeline.copy(size).element_spec)

    def _set_learning_rate(self, epoch: int) -> None:
        """Sets the epoch's learning rate, if this callback controls it."""
        if self._steered is not None:
            curve, steps = self._steered.number.curve, self.pipeline.steps_per_epoch
            self._steered.set_curve(curve, self.first_update, epoch, steps)

    def _reason(self) -> str:
        """Returns why the batch size has changed, for the end of the printed line."""
        return ""

    def on_train_batch_end(self, batch, logs=None):
        self._summary.end_step(min(batch + 1, self.pipeline.steps_in_pass))
        if batch + 1 >= self.pipeline.steps_in_pass and not self.model.stop_training:
            self.model.stop_training = _EPOCH_IS_OVER

    def on_epoch_end(self, epoch, logs=None):
        if self.model.stop_training is _EPOCH_IS_OVER:
            self.model.stop_training = False
        if logs is not None:
            logs["batch_size"] = self.pipeline.batch_size

    def _size(self, epoch: int) -> int:
        if isinstance(self.schedule, Plan):
            return self.schedule.batch_size(epoch)
        return self.schedule(epoch, self.pipeline.batch_size)

    def _num_replicas(self) -> int:
        strategy = getattr(self.model, "distribute_strategy", None)
        return strategy.num_replicas_in_sync if strategy else 1

    def _num_parts(self) -> int:
        """Returns the number of parts that each batch is divided into."""
        return self._num_replicas() * count_devices()

    def _check_plan(self, plan: Plan) -> None:
        check_replicas(plan, self._num_parts())
        if self.params and self.params.get("epochs", 0) > plan.epochs:
            raise UserError(
                f"epochs: expected at most the plan's {plan.epochs}, "
                f"received fit(epochs={self.params['epochs']})"
            )
        momentum = get_momentum(self.model.optimizer)
        expected = {phase.momentum for phase in plan.phases}
        check_momentum(self.model.optimizer, plan)
        if momentum is not None and len(expected) > 1 and 0 in expected:
            raise UserError(
                "momentum: expected a plan that keeps it above 0 if it changes (at 0 an optimizer "
                f"has no velocities), received {', '.join(str(p.momentum) for p in plan.phases)}"
            )
        self._check_learning_rate(plan)

    def _check_learning_rate(self, plan: Plan) -> None:
        """Checks that the optimizer's learning rate is the plan's, unless a callback sets it."""
        rate = learning_rate_of(base_optimizer(self.model.optimizer))
        others = filter(sets_learning_rate, callbacks_of(running_call(self.model)[1]))
        other = next(others, None)
        if isinstance(rate, EpochLearningRateSchedule | SteeredLearningRate):
            if other is not None and not getattr(other, "owns_learning_rate", False):
                raise UserError(
                    f"learning_rate: the plan's schedule and {type(other).__name__} cannot both "
                    "set it; expected one of the two"
                )
            return
        if other is not None:
            return
        if isinstance(rate, keras.optimizers.schedules.LearningRateSchedule):
            received = f"a {type(rate).__name__}"
        else:
            present = last_learning_rate(self.model.optimizer)
            planned = {value for phase in plan.phases for value in plan.learning_rates(phase)}
            if all(math.isclose(present, value, rel_tol=1e-6) for value in planned):
                return
            received = f"a constant {present:g}"
        raise UserError(
            "learning_rate: the plan and the optimizer cannot both set it; expected an optimizer "
            "with learning_rate=plan.learning_rate_schedule() (or, for its batch sizes alone, "
            f"BatchSizeScheduler(pipeline, lambda epoch, size: plan.batch_size(epoch))), received "
            f"{received}"
        )

    def _follow_momentum(self, momentum: float) -> None:
        present = get_momentum(self.model.optimizer)
        if present is not None and present != momentum:
            set_momentum(self.model.optimizer, momentum)
            self.model.make_train_function(force=True)  # the value is a constant of the graph


def _shows_many_runs(callback) -> bool:
    """Whether a callback is a `ProgressBar` for many short runs."""
    return getattr(callback, "seconds_between_lines", 0.0) > 0
