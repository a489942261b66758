"""The batch size follows the gradient noise, and the learning rate follows the batch size."""

import math
from pathlib import Path
from typing import TYPE_CHECKING

import keras

from lbkeras import checks
from lbkeras.callbacks.batch_size_scheduler import BatchSizeScheduler
from lbkeras.callbacks.optimizer_settings import (
    base_optimizer,
    check_momentum,
    check_ownership,
    install_learning_rate,
    last_learning_rate,
    restore_learning_rate,
)
from lbkeras.distribution.agreement import is_chief
from lbkeras.errors import UserError
from lbkeras.files import write_json
from lbkeras.methods.adaptive_batch_size.decision import (
    batch_size_ladder,
    loss_regressed,
    next_batch_size,
)
from lbkeras.methods.noise_scale.callback import GradientNoiseScale
from lbkeras.methods.noise_scale.estimates import adascale_gain, cabs_batch_size
from lbkeras.methods.noise_scale.second_moments import has_second_moments
from lbkeras.planning.plan import Plan
from lbkeras.planning.replicas import replica_batch_size
from lbkeras.schedules.decays import steps
from lbkeras.schedules.scaling import SCALING_RULES

if TYPE_CHECKING:
    from lbkeras.data.pipeline import Pipeline

RULES = ("critical", "cabs")
GAIN_POWERS = {"gain": 1.0, "square_root_gain": 0.5}
SCALINGS = (*GAIN_POWERS, *SCALING_RULES)


class AdaptiveBatchSize(BatchSizeScheduler):
    """Moves the batch size between epochs towards the critical batch size, measured in `fit`.

    At the end of each epoch it measures the gradient noise scale (with a `GradientNoiseScale` of
    its own) and moves on the ladder batch_size · factor^i: one rung up if even the lower bound of
    the target reaches that rung, one rung down if even the upper bound is below the next smaller
    one; otherwise it stays. The target is

        critical   tr(Σ) / |G|²                       the gradient noise scale
        cabs       learning_rate · tr(Σ) / loss       the CABS rule

    With k = batch size / first batch size, the learning rate is that of the first batch size (the
    optimizer's number or the plan's curve) times

        gain              g = (variance + |G|²) / (variance / k + |G|²),
                          variance = tr(Σ) / first batch size
        square_root_gain  √g
        linear            k
        square_root       √k
        none              1

    g is AdaScale's gain, measured at the end of each epoch. It is between 1 and k, and near k as
    long as the batch is far below the critical size. An optimizer that divides by the size of the
    gradients, such as Adam, already takes larger steps when they are less noisy, so √g suffices.

    If, within two epochs of a larger batch, the training loss is more than a fifth above its lowest
    value so far, the run goes one size down and never above that size again: the noise shows how
    much the learning rate may grow, not how much the model tolerates.

    Logs `batch_size`, `learning_rate` (of the epoch's last update) and what `GradientNoiseScale`
    logs. `file` records each epoch's decision and its reason. Prints a line whenever the size
    changes, except with `fit(verbose=0)`. Costs what `GradientNoiseScale` costs, and one trace for
    each new size.

    Args:
        pipeline: the `lbkeras.data.Pipeline` that is passed to `fit` as `x`. Without a plan, its
            batch size is the first.
        plan: a Plan with one batch size, which is the first; it also sets the learning rate at the
            first batch size. None: the optimizer's learning rate, which must be a number.
        min_batch_size: lower bound in examples; None: the first size.
        max_batch_size: upper bound in examples; None: a tenth of the data, or the first size if
            that is larger.
        rule: `"critical"` or `"cabs"`.
        scaling: `"gain"`, `"square_root_gain"`, `"linear"`, `"square_root"` or `"none"`; None:
            `"square_root_gain"` for an optimizer that divides by the size of the gradients (Adam
            and its relatives, RMSprop, Adagrad, Adadelta, Adafactor, Lion, LARS, LAMB), else
            `"gain"`.
        factor: ratio of one size to the next smaller one, at least 2.
        file: path for the decisions as JSON; None writes none.

    Attributes:
        decisions: for each finished epoch `epoch`, `batch_size`, `next_batch_size`, `lower` and
            `upper` (bounds of the target; None if unknown or unbounded), `loss`, `learning_rate`
            and `reason`.
        largest: the size to which a rise of the loss has limited the run; None without such a rise.

    Raises:
        UserError: an argument is out of range, `max_batch_size` is below `min_batch_size`, the
            first size is not between them, or `plan` has several batch sizes; in `fit`, for a first
            size that the number of replicas does not divide, an optimizer with a schedule or with
            another momentum than the plan's (0 for an optimizer without), another callback that
            sets the learning rate, and whatever `GradientNoiseScale` refuses.

    >>> import keras
    >>> from lbkeras.data import Pipeline
    >>> x = keras.random.normal((640, 4), seed=0).numpy()
    >>> train, model = Pipeline((x, x[:, 0]), 8), keras.Sequential([keras.layers.Dense(1)])
    >>> model.compile(keras.optimizers.SGD(0.01), "mse")
    >>> adaptive = AdaptiveBatchSize(train, factor=4)
    >>> _ = model.fit(train, epochs=2, verbose=0, callbacks=[adaptive])
    >>> adaptive.decisions[0]["reason"].startswith("gradient noise allows ")
    True

    Differs from the papers: sizes change between epochs and by whole rungs. McCandlish et al. give
    the target, not this rule for changing sizes. AdaScale adapts the gain at each update
    (`AdaScale` does that here). CABS sets the size at each update and does not change the learning
    rate (`scaling="none"`).

    Reference: McCandlish et al., arXiv:1812.06162, section 2.2; Johnson et al., arXiv:2007.05105,
    section 3; Balles, Romero, Hennig, arXiv:1612.05086, section 3.
    """

    owns_learning_rate = True
    needs_checkpoint = True

    def __init__(
        self,
        pipeline: "Pipeline",
        *,
        plan: Plan | None = None,
        min_batch_size: int | None = None,
        max_batch_size: int | None = None,
        rule: str = "critical",
        scaling: str | None = None,
        factor: int = 2,
        file: Path | str | None = None,
    ):
        super().__init__(pipeline, lambda epoch, size: self.next_size)
        self.rule = checks.choice("rule", rule, RULES)
        self.scaling = None if scaling is None else checks.choice("scaling", scaling, SCALINGS)
        if plan is not None and not isinstance(plan, Plan):
            raise UserError(f"plan: expected a Plan or None, received {plan!r}")
        if plan is not None and len({phase.batch_size for phase in plan.phases}) > 1:
            sizes = ", ".join(str(phase.batch_size) for phase in plan.phases)
            raise UserError(f"plan: expected one with a single batch size, received {sizes}")
        self.plan = plan
        self.file = None if file is None else checks.path("file", file)
        first = pipeline.batch_size if plan is None else plan.phases[0].batch_size
        most = max(pipeline.num_examples // 10, first) if max_batch_size is None else max_batch_size
        checks.integer("max_batch_size", most, minimum=1, maximum=pipeline.num_examples)
        least = min(first, most) if min_batch_size is None else min_batch_size
        self._ladder = batch_size_ladder(first, least, most, factor)
        self._first = first
        self.noise = GradientNoiseScale(pipeline)
        self._reset()

    def _reset(self):
        # State that a checkpoint saves.
        self.next_size = self._first
        self.gain = 1.0
        self.largest = None
        self.learning_rate = None  # of the first batch size
        self.decisions = []

    def set_params(self, params):
        super().set_params(params)
        self.verbose = int(self._speaks())
        self.noise.set_params(params)

    def set_model(self, model):
        super().set_model(model)
        self._rate = install_learning_rate(model, self)
        self.noise.set_model(model)

    def on_train_begin(self, logs=None):
        super().on_train_begin(logs)
        check_ownership(self.model, self._rate)
        if self.plan is not None:
            check_momentum(self.model.optimizer, self.plan)
        replicas = self._num_parts()
        self._sizes = tuple(size for size in self._ladder if size % replicas == 0)
        replica_batch_size(self._first, replicas)
        if self.learning_rate is None:
            self.learning_rate = last_learning_rate(self.model.optimizer)
        self.noise.on_train_begin(logs)

    def begin_anew(self):
        super().begin_anew()
        self._reset()

    def on_epoch_begin(self, epoch, logs=None):
        super().on_epoch_begin(epoch, logs)
        self.noise.on_epoch_begin(epoch, logs)

    def _set_learning_rate(self, epoch: int) -> None:
        curve = self.plan.learning_rate_curve if self.plan else steps([self.learning_rate], [], 1)
        self._rate.set_curve(
            curve.scaled(self._factor()), self.first_update, epoch, self.pipeline.steps_per_epoch
        )

    def _first_batch_size(self) -> int:
        return self._first

    def _reason(self) -> str:
        reason = self.decisions[-1]["reason"] if self.decisions else ""  # "": before any decision
        return f" ({reason})" if reason else ""

    def on_train_batch_begin(self, batch, logs=None):
        self.noise.on_train_batch_begin(batch, logs)

    def on_epoch_end(self, epoch, logs=None):
        super().on_epoch_end(epoch, logs)
        self.noise.on_epoch_end(epoch, logs)
        self._decide(epoch, {} if logs is None else logs)

    def on_train_end(self, logs=None):
        super().on_train_end(logs)
        self.noise.on_train_end(logs)
        restore_learning_rate(self.model, self._rate)

    def _factor(self) -> float:
        """Returns the factor on the learning rate of the first batch size."""
        scaling = self.scaling or default_scaling(self.model.optimizer)
        if scaling in GAIN_POWERS:
            return self.gain ** GAIN_POWERS[scaling]
        return SCALING_RULES[scaling](1.0, self.next_size, self._first)

    def _decide(self, epoch: int, logs: dict) -> None:
        rate = last_learning_rate(self.model.optimizer)
        present = self.pipeline.batch_size
        loss = float(logs.get("loss", math.nan))
        lower, upper = self._target(rate, loss)
        self.next_size, reason = self._next_size(present, loss, lower, upper)
        logs["learning_rate"] = rate
        noise = self.noise
        if noise.gradient_variance is not None:
            variance = noise.gradient_variance / self._first
            scale = self.next_size / self._first
            self.gain = adascale_gain(variance, noise.gradient_squared_norm, scale)
        self.decisions.append(
            {
                "epoch": epoch,
                "batch_size": present,
                "next_batch_size": self.next_size,
                "lower": _finite(lower),
                "upper": _finite(upper),
                "loss": _finite(loss),
                "learning_rate": rate,
                "reason": reason,
            }
        )
        if self.file is not None and is_chief(getattr(self.model, "distribute_strategy", None)):
            write_json(self.file, {"decisions": self.decisions})

    def _next_size(self, present: int, loss: float, lower: float, upper: float):
        rows = [*self.decisions, {"batch_size": present, "loss": _finite(loss)}]
        rows = [row for row in rows if row["loss"] is not None]
        losses, sizes = ([row[name] for row in rows] for name in ("loss", "batch_size"))
        if losses and loss_regressed(losses, sizes):
            self.largest = self._sizes[max(self._sizes.index(present) - 1, 0)]
            return self.largest, f"the loss rose after the batch grew; {self.largest} at most"
        most = self.largest or self._sizes[-1]
        allowed = tuple(size for size in self._sizes if size <= most)
        return next_batch_size(present, allowed, lower, upper)

    def _target(self, rate: float, loss) -> tuple[float, float]:
        if self.rule == "critical":
            return self.noise.bounds()
        variance = self.noise.gradient_variance
        if variance is None or not loss > 0:
            return math.nan, math.nan
        size = cabs_batch_size(rate, max(variance, 0.0), loss)
        return size, size


def default_scaling(optimizer) -> str:
    """Returns the scaling that suits an optimizer: `"gain"` or `"square_root_gain"`.

    It is `"square_root_gain"` if the optimizer divides by the size of the gradients, which shrinks
    with their noise.

    Args:
        optimizer: of a compiled model.
    """
    optimizer = base_optimizer(optimizer)
    divides = (
        has_second_moments(optimizer)
        or hasattr(optimizer, "trust_ratios")
        or isinstance(optimizer, _DIVIDE_BY_SIZE)
    )
    return "square_root_gain" if divides else "gain"


# In addition to optimizers with second moments and lbkeras' optimizers that scale each layer.
_DIVIDE_BY_SIZE = (
    keras.optimizers.RMSprop,
    keras.optimizers.Adagrad,
    keras.optimizers.Adadelta,
    keras.optimizers.Adafactor,
    keras.optimizers.Adamax,
    keras.optimizers.Lion,
)


def _finite(bound: float) -> float | None:
    return bound if math.isfinite(bound) else None
