"""AdaScale SGD: learning rate and length of a run follow the gain of the larger batch."""

import warnings
from typing import TYPE_CHECKING

import keras

from lbkeras import checks
from lbkeras.callbacks.optimizer_settings import (
    base_optimizer,
    check_momentum,
    check_ownership,
    install_learning_rate,
)
from lbkeras.errors import UserError
from lbkeras.keras_internals.backend import check_backend
from lbkeras.keras_internals.optimizer import learning_rate_of, set_learning_rate
from lbkeras.methods.ada_scale.learning_rate import AdaScaleLearningRate
from lbkeras.methods.ada_scale.plan import AdaScalePlan
from lbkeras.methods.noise_scale.callback import GradientNoiseScale
from lbkeras.methods.noise_scale.estimates import adascale_gain
from lbkeras.methods.noise_scale.second_moments import has_second_moments
from lbkeras.planning.plan import Plan

if TYPE_CHECKING:
    from lbkeras.data.pipeline import Pipeline

_UNDIVIDED_ERROR = (
    "AdaScale: expected micro-batches or replicas, whose gradients show the variance, received "
    "undivided batches; add MicroBatches(pipeline, micro_batch_size=...)"
)


class AdaScale(GradientNoiseScale):
    """Scales the learning rate by the measured gain of a larger batch over a base batch.

    The settings of a run with a small batch suffice. With S = batch_size / base_batch_size and
    running means of tr(Σ) and |G|² (measured as in `GradientNoiseScale`), an update is worth `gain`
    updates of the base run:

        gain = (tr(Σ) / base_batch_size + |G|²) / (tr(Σ) / batch_size + |G|²),  1 <= gain <= S
        learning rate = gain · base learning rate(⌊progress⌋)
        progress <- progress + gain

    `fit` ends when the progress reaches the base run's number of updates, base_epochs ·
    (num_examples // base_batch_size). Give it enough epochs: it needs at most about
    base_epochs · S. No warm-up is needed. S may change between epochs, and `fit` may resume from a
    checkpoint.

    Needs Keras' TensorFlow backend, micro-batches or replicas, and an optimizer whose learning rate
    is a number, which is restored when `fit` ends.

    Logs what `GradientNoiseScale` logs and, at the end of each epoch, `adascale_gain` (of the next
    update) and `adascale_progress` (in base updates). Costs what `GradientNoiseScale` costs.

    Args:
        pipeline: the `lbkeras.data.Pipeline` that is passed to `fit` as `x`.
        base_batch_size: batch size that the learning rate was chosen for, at least 1; None takes
            the plan's.
        base_epochs: epochs of the base run, at least 1; None takes the plan's.
        learning_rate: of the base run: a number, a Keras schedule over its updates, or a
            `lbkeras.planning.Plan` with one batch size; None takes the optimizer's.
        plan: from `lbkeras.planning.ada_scale_plan`, which sets the three arguments above; any
            other plan sets none of them.
        per_layer: whether to log the gradient noise scale of each layer too.

    Attributes:
        gain, progress: as logged, at the end of each epoch.
        base_updates: the progress at which `fit` ends.
        micro_batch_size: the base batch size. On one replica the command line computes a batch in
            pieces of this size, unless `--micro_batch_size` sets another.

    Raises:
        UserError: an argument is out of range, Keras' backend is not TensorFlow, a plan is
            for another number of examples than `pipeline` or changes its batch size, or a
            setting of the base run is given beside that of `plan`; in `fit`, for undivided batches
            on one replica, an optimizer with second moments such as Adam, an optimizer with a
            schedule or another momentum than the plan's, and whatever `GradientNoiseScale` refuses.

    Differs from the paper: the gain of an update comes from the gradients before it, not from its
    own, so that the size of the step and its noise are independent; the first gain is 1.
    tr(Σ) / base_batch_size and |G|² are bias-corrected means. They are bounded below by 1e-6 and 0
    after averaging; bounding them before would bias them. With `steps_per_execution=n` the run may
    end up to n − 1 updates late.

    Reference: Johnson, Agrawal, Gu, Guestrin, "AdaScale SGD", arXiv:2007.05105, algorithm 1.
    """

    owns_learning_rate = True

    def __init__(
        self,
        pipeline: "Pipeline",
        base_batch_size: int | None = None,
        base_epochs: int | None = None,
        learning_rate: float | keras.optimizers.schedules.LearningRateSchedule | Plan | None = None,
        *,
        plan: Plan | None = None,
        per_layer: bool = False,
    ):
        check_backend("AdaScale")
        super().__init__(pipeline, per_layer=per_layer, preconditioned=False)
        if isinstance(plan, AdaScalePlan):
            given = dict(
                base_batch_size=base_batch_size,
                base_epochs=base_epochs,
                learning_rate=learning_rate,
            )
            for name, value in given.items():
                if value is not None:
                    raise UserError(
                        f"{name}: expected none with an ada_scale_plan, which sets it, received "
                        f"{value!r}"
                    )
            learning_rate = plan.base
        elif isinstance(learning_rate, AdaScalePlan):
            raise UserError(
                "learning_rate: expected the base run's, received an ada_scale_plan, which is for "
                "the larger batch; pass it as plan="
            )
        self._plan = learning_rate if isinstance(learning_rate, Plan) else None
        if isinstance(learning_rate, Plan):
            sizes = {phase.batch_size for phase in learning_rate.phases}
            if len(sizes) > 1:
                raise UserError(
                    "learning_rate: expected a plan with one batch size, received one with "
                    f"{', '.join(map(str, sorted(sizes)))}"
                )
            if learning_rate.num_examples != pipeline.num_examples:
                raise UserError(
                    f"{'learning_rate' if plan is None else 'plan'}: expected one for "
                    f"{pipeline.num_examples} examples (the pipeline's), received one for "
                    f"{learning_rate.num_examples}"
                )
            base_batch_size = base_batch_size or sizes.pop()
            base_epochs = base_epochs or learning_rate.epochs
            learning_rate = learning_rate.learning_rate_schedule()
        self.base_batch_size = checks.batch_size(
            "base_batch_size", base_batch_size, pipeline.num_examples
        )
        self.base_epochs = checks.integer("base_epochs", base_epochs, minimum=1)
        if learning_rate is not None:
            learning_rate = checks.learning_rate("learning_rate", learning_rate)
        self.learning_rate = learning_rate
        steps = pipeline.num_examples // self.base_batch_size
        self.base_updates = self.base_epochs * steps
        self.gain, self.progress = 1.0, 0.0
        self.scale = None  # of the epoch that began last
        self._rate = None

    @property
    def variables(self) -> list:
        return [*super().variables, *(self._rate.variables if self._rate else [])]

    def set_model(self, model):
        optimizer = base_optimizer(model.optimizer)
        if has_second_moments(optimizer):
            raise UserError(
                "AdaScale: expected SGD or another optimizer without second moments, received "
                f"{type(optimizer).__name__}"
            )
        super().set_model(model)
        number = install_learning_rate(model, self).number
        base = self.learning_rate
        if base is None:
            base = float(keras.ops.convert_to_numpy(number))
        before = self._rate.progress if self._rate else 0.0  # if `fit` starts later
        import tensorflow as tf

        with model.distribute_strategy.scope():
            self._rate = AdaScaleLearningRate(base, progress=before, owner="AdaScale")
            self._scale = tf.Variable(1.0, trainable=False, dtype=tf.float64)
        self._rate.number = number
        set_learning_rate(optimizer, self._rate)
        self._statistics.on_update = self._advance

    @property
    def micro_batch_size(self) -> int:
        """Size of the micro-batches in which a run on one replica computes its batches."""
        return self.base_batch_size

    def begin_anew(self):
        super().begin_anew()
        self.gain, self.progress, self.scale = 1.0, 0.0, None
        self._rate.restart()

    def on_train_begin(self, logs=None):
        super().on_train_begin(logs)
        check_ownership(self.model, self._rate)
        if self._plan is not None:
            check_momentum(self.model.optimizer, self._plan)

    def on_train_batch_begin(self, batch, logs=None):
        if self._epoch_begins:
            scale = self._scale_now()
            self._statistics.undivided_error = _UNDIVIDED_ERROR if scale != 1 else ""
            self._scale.assign(scale)
            if scale != self.scale:
                self.scale = scale
                self._rate.set_gain(self._gain_now())
            self._unread = 0  # updates that cannot end the run yet
        super().on_train_batch_begin(batch, logs)

    def on_train_batch_end(self, batch, logs=None):
        self._unread -= self.model.steps_per_execution
        if self._unread > 0:
            return
        left = self.base_updates - self._rate.progress
        if left <= 0:
            self.model.stop_training = True
        self._unread = left / max(self._scale_now(), 1.0)

    def on_epoch_end(self, epoch, logs=None):
        super().on_epoch_end(epoch, logs)
        self.gain, self.progress = self._rate.gain, self._rate.progress
        if logs is not None:
            logs.update(adascale_gain=self.gain, adascale_progress=self.progress)

    def on_train_end(self, logs=None):
        super().on_train_end(logs)
        optimizer = base_optimizer(self.model.optimizer)
        if learning_rate_of(optimizer) is self._rate:
            set_learning_rate(optimizer, self._rate.number)
        if self._rate.progress < self.base_updates:
            warnings.warn(
                f"AdaScale: fit ended at {self._rate.progress:.0f} of the base run's "
                f"{self.base_updates} updates; to continue, call fit with more epochs and "
                "initial_epoch",
                stacklevel=2,
            )

    def _may_probe(self) -> bool:
        return False

    def _decay(self) -> float:
        return max(1 - self._scale_now() / 1000, 0.0)

    def _scale_now(self) -> float:
        return self.pipeline.batch_size / self.base_batch_size

    def _gain_now(self) -> float:
        averages, scale = self._averages(), self._scale_now()
        if not averages.updates:
            return min(scale, 1.0)
        variance = averages.variance / self.base_batch_size
        return adascale_gain(variance, averages.squared_norm, scale)

    def _advance(self) -> None:
        """Applies `analysis.adascale_gain` at the end of an update, in a replica's graph."""
        import tensorflow as tf

        variance, squared_norm, known = self._statistics.means()
        scale = tf.convert_to_tensor(self._scale)
        variance = tf.maximum(variance / self.base_batch_size, 1e-6)
        squared_norm = tf.maximum(squared_norm, 0.0)
        gain = (variance + squared_norm) / (variance / scale + squared_norm)
        gain = tf.where(known, gain, tf.minimum(scale, 1.0))
        self._rate.advance(base_optimizer(self.model.optimizer).iterations, gain)
