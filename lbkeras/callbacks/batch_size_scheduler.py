"""Changes the batch size between the epochs of one `model.fit`."""

import warnings
from collections.abc import Callable

import keras

from lbkeras.callbacks.optimizer_settings import base_optimizer, get_momentum, set_momentum
from lbkeras.errors import UserError
from lbkeras.keras_internals.optimizer import learning_rate_of
from lbkeras.planning import Plan, check_replicas, replica_batch_size


class _EpochIsOver:
    """Stands in `model.stop_training` while this callback ends an epoch; true like True."""

    def __repr__(self):
        return "epoch is over"


_EPOCH_IS_OVER = _EpochIsOver()


class BatchSizeScheduler(keras.callbacks.Callback):
    """Gives each epoch of one `fit` its own batch size, exactly from its first step to its last.

    No step is lost, cut or invented, whether the batch grows or shrinks; optimizer slots and other
    callbacks keep their state, as in any `fit`. A Plan also brings the momentum of each phase:
    where it changes, the train function is traced again once. Its learning rate is
    `plan.learning_rate_schedule()`, given to the optimizer.

    Logs `batch_size` (examples an update, all replicas together). Costs one comparison a step; the
    first epoch at a new batch size traces the model once more.

    Args:
        pipeline: the `lbkeras.data.Pipeline` that `fit` gets as `x`.
        schedule: a `lbkeras.planning.Plan`, or a function `(epoch, batch_size) -> batch_size` that
            gets the present size, like `keras.callbacks.LearningRateScheduler`'s.
        verbose: 1 prints a line whenever the batch size changes.

    Raises:
        UserError: a size that is no integer in 1 to `pipeline.num_examples` or that the replicas do
            not divide; a plan for another number of examples, another momentum than the
            optimizer's, a momentum that changes from or to 0, or fewer epochs than `fit` runs.

    Reference: Smith, Kindermans, Ying and Le 2018, "Don't decay the learning rate, increase the
    batch size", arXiv:1711.00489.
    """

    def __init__(self, pipeline, schedule: Plan | Callable[[int, int], int], verbose: int = 0):
        super().__init__()
        self.pipeline = pipeline
        self.schedule = schedule
        self.verbose = verbose
        if isinstance(schedule, Plan) and schedule.num_examples != pipeline.num_examples:
            raise UserError(
                f"schedule: expected a plan for {pipeline.num_examples} examples (the pipeline's), "
                f"received one for {schedule.num_examples}"
            )
        pipeline.follow_schedule()

    def set_model(self, model):
        super().set_model(model)
        self.pipeline.follow_schedule(getattr(model, "distribute_strategy", None))

    def on_train_begin(self, logs=None):
        if isinstance(self.schedule, Plan):
            self._check_plan(self.schedule)

    def on_epoch_begin(self, epoch, logs=None):
        before = self.pipeline.batch_size
        self.pipeline.begin_epoch(epoch, self._size(epoch))
        replica_batch_size(self.pipeline.batch_size, self._num_replicas())
        if isinstance(self.schedule, Plan):
            self._follow_momentum(self.schedule.momentum(epoch))
        if self.verbose and self.pipeline.batch_size != before:
            print(
                f"Epoch {epoch + 1}: batch size {before} -> {self.pipeline.batch_size}", flush=True
            )

    def on_train_batch_end(self, batch, logs=None):
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

    def _check_plan(self, plan: Plan) -> None:
        check_replicas(plan, self._num_replicas())
        if self.params and self.params.get("epochs", 0) > plan.epochs:
            raise UserError(
                f"epochs: expected at most the plan's {plan.epochs}, "
                f"received fit(epochs={self.params['epochs']})"
            )
        momentum = get_momentum(self.model.optimizer)
        expected = {phase.momentum for phase in plan.phases}
        if momentum is not None and momentum not in expected:
            raise UserError(
                f"momentum: expected the plan's {plan.phases[0].momentum}, "
                f"received an optimizer with {momentum}"
            )
        if momentum is not None and len(expected) > 1 and 0 in expected:
            raise UserError(
                "momentum: expected a plan that changes it to stay above 0 (at 0 an optimizer has "
                f"no velocities), received {', '.join(str(p.momentum) for p in plan.phases)}"
            )
        learning_rate = learning_rate_of(base_optimizer(self.model.optimizer))
        scheduled = isinstance(learning_rate, keras.optimizers.schedules.LearningRateSchedule)
        if not scheduled and len({phase.learning_rate for phase in plan.phases}) > 1:
            warnings.warn(
                "the plan changes the learning rate, the optimizer's is constant: compile with "
                "learning_rate=plan.learning_rate_schedule()",
                stacklevel=2,
            )

    def _follow_momentum(self, momentum: float) -> None:
        present = get_momentum(self.model.optimizer)
        if present is not None and present != momentum:
            set_momentum(self.model.optimizer, momentum)
            self.model.make_train_function(force=True)  # the value is a constant of the graph
