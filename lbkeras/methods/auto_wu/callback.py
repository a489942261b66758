"""AutoWU: finds the learning rate by a warm-up that lasts until the loss has passed its minimum."""

from pathlib import Path
from typing import TYPE_CHECKING

import keras
import numpy as np

from lbkeras import checks, files
from lbkeras.callbacks.optimizer_settings import (
    check_momentum,
    check_no_accumulation,
    check_ownership,
    install_learning_rate,
    restore_learning_rate,
)
from lbkeras.callbacks.pipeline_callback import PipelineCallback
from lbkeras.distribution.agreement import is_chief
from lbkeras.errors import UserError
from lbkeras.keras_internals.running_call import callbacks_of
from lbkeras.methods.auto_wu import epoch_copies
from lbkeras.methods.auto_wu.judgement import GRID, judge
from lbkeras.methods.auto_wu.plan import PATIENCE, decay_from
from lbkeras.methods.auto_wu.step_losses import StepLosses
from lbkeras.planning.plan import Plan
from lbkeras.schedules.curve import EPOCH_TOLERANCE

if TYPE_CHECKING:
    from lbkeras.data.pipeline import Pipeline

_LOSSES_IN_FILE = 2000
_RATES_IN_FILE = 400
_UPDATES_A_READING = 1024


class AutoWU(PipelineCallback):
    """Raises the learning rate exponentially until the loss rises, goes back, and decays.

    At the end of each epoch of the warm-up, a Gaussian process over the losses of all updates so
    far tests five random subsets for whether the loss has passed its minimum. When most tests say
    so in 3 epochs in a row, the learning rate returns to its value at the minimum,

        mean over the 5 tests of min_learning_rate · (now / min_learning_rate)^x

    where x in [0, 1] is the place of the minimum, and decays from there. If the longest warm-up
    ends first, the learning rate decays from the value it has reached. The plan sets the rest:

        plan = planning.auto_wu_plan(epochs=20, batch_size=256, momentum=0.9,
                                     num_examples=train.num_examples)
        model.compile(keras.optimizers.SGD(momentum=0.9), ...)   # a number as learning rate
        model.fit(train, epochs=plan.epochs, callbacks=[AutoWU(train, plan)])

    With `restore=True` the model also returns to its state at the end of the epoch nearest the
    minimum. This covers all floating-point variables: weights, optimizer slots, statistics (such
    as batch norm's), the average of the weights and the loss scale. Integer variables keep their
    values: random states, so that dropout draws new masks, and the number of updates, which
    determines the learning rate and the remaining length. Adam's bias correction then uses a
    number that is a few epochs ahead of its slots. The data continue as well: no epoch is read
    again. At the end of each warm-up epoch, statistics that differ between replicas are replaced
    by their mean.

    With `restore=False`, as in the paper, weights, slots and statistics stay as the last epochs
    left them. In a short run the learning rate grows by a factor of
    10^(5 / epochs of the longest warm-up) in each of these epochs, and the weights may not
    recover. Hence the default `restore=True`, which was chosen on held-out data.

    The warm-up is counted in epochs, so a changing batch size (put its callback before this one)
    does not change the learning rate at a given epoch. Works with any `steps_per_execution` and
    strategy. All workers decide the same, and so does a run resumed from a `Checkpoint`. NaN and
    infinite losses are left out; with `StopOnNaN` (and so in `lbkeras train`) the run ends at the
    first one.

    The epoch's logs describe the weights before they are restored. Callbacks that keep the weights
    of the best epoch (`EarlyStopping(restore_best_weights=True)`,
    `ModelCheckpoint(save_best_only=True)`) must therefore come before this one.

    Logs at the end of each epoch: `auto_wu_warming_up` (1 or 0); during the warm-up
    `auto_wu_votes` (how many of the 5 tests are positive) and `auto_wu_minimum_learning_rate` (at
    the posterior's minimum); after it `auto_wu_warmup_epochs`, `auto_wu_peak_learning_rate` (from
    which the learning rate decays) and, if the model was restored, `auto_wu_restored_epoch` (the
    number of epochs after which it had the restored state).

    Costs about 10 ms per epoch of the warm-up and less than 50 microseconds per update. With
    `restore=True` it also keeps 4 copies of weights, slots and statistics in host memory, and
    during the warm-up writes them into each checkpoint: 1.2 GB for ResNet-50 (25.6 million
    weights) with AdamP.

    Args:
        pipeline: the `lbkeras.data.Pipeline` that is passed to `fit` as `x`.
        plan: from `lbkeras.planning.auto_wu_plan`.
        seed: of the tests' random subsets, the same on all workers.
        file: JSON file for the report's plot; None writes none.
        restore: whether to restore the model along with the learning rate; False is the paper's
            form.

    Attributes:
        warmup_epochs: length of the warm-up; None until it ends.
        peak_learning_rate: learning rate at which the decay starts; None during the warm-up.
        restored_epoch: number of epochs after which the model had the restored state; None if it
            was not restored.

    Raises:
        UserError: the plan is of another kind or has fewer epochs than `fit` runs; the
            optimizer has another momentum than the plan (0 for an optimizer without), a learning
            rate schedule, or gradient_accumulation_steps, with which updates are counted
            differently; another callback sets the learning rate; the model's train step does
            not pass its loss to Keras' metric; with `restore=True`, a callback that keeps the
            weights of the best epoch comes after this one.

    Differs from the paper: `restore=True` is ours. Hyper-parameters and tests follow the authors'
    code. The warm-up is counted in epochs, so the last test may fall exactly at the
    end of the longest warm-up, where the authors' code does not test. Further options of that code
    are left out, among them one that has no effect there (a decay factor per epoch) and one that
    halves the learning rate at once (`half_cosine`).

    Reference: Kim et al., "Automated Learning Rate Scheduler for Large-batch Training",
    arXiv:2107.05855, section 3 and algorithm 1.
    """

    owns_learning_rate = True
    needs_checkpoint = True

    def __init__(
        self,
        pipeline: "Pipeline",
        plan: Plan,
        seed: int = 0,
        file: Path | str | None = None,
        restore: bool = True,
    ):
        super().__init__(pipeline)
        segments = plan.curve.segments if isinstance(plan, Plan) and plan.curve else ()
        if len(segments) < 2 or segments[0].shape != "exponential":
            received = type(plan).__name__ if not isinstance(plan, Plan) else "another plan"
            raise UserError(f"plan: expected an auto_wu_plan, received {received}")
        self.plan = plan
        self.seed = checks.integer("seed", seed, minimum=0)
        self.file = None if file is None else checks.path("file", file)
        self.restore = checks.flag("restore", restore)
        self._posterior = None  # from the last test, for the file
        self._reset()

    def _reset(self):
        # State that a checkpoint saves.
        self.epoch = -1  # the current one
        self.first_update = 0  # of the current epoch
        self.losses = []  # one array per epoch of the warm-up
        self.parts = []  # the current epoch's losses read so far
        self.state = None  # of the Gaussian process
        self.decisions = []  # one entry per epoch of the warm-up
        self.copies = {}  # number of epochs done -> state at the end of the last one
        self.warmup_epochs = None
        self.peak_learning_rate = None
        self.restored_epoch = None

    @property
    def variables(self) -> list:
        """Losses still on the device, for a checkpoint in the middle of an epoch."""
        return self._recorder.variables

    def set_model(self, model):
        super().set_model(model)
        self._rate = install_learning_rate(model, self)
        self._recorder = StepLosses(model)

    def on_train_begin(self, logs=None):
        try:
            super().on_train_begin(logs)
            check_ownership(self.model, self._rate)
            check_momentum(self.model.optimizer, self.plan)
            check_no_accumulation(self.model.optimizer, "AutoWU")
            epochs = (self.params or {}).get("epochs", self.plan.epochs)
            if epochs > self.plan.epochs:
                raise UserError(
                    f"epochs: expected at most the plan's {self.plan.epochs}, "
                    f"received fit(epochs={epochs})"
                )
        except UserError:
            self.on_train_end()
            raise
        self._reset()

    def on_epoch_begin(self, epoch, logs=None):
        if epoch != self.epoch:  # else a run resumes inside this epoch
            self.epoch = epoch
            self.first_update = int(keras.ops.convert_to_numpy(self.model.optimizer.iterations))
            self.parts = []
            self._recorder.clear()
        self._updates = 0  # known to be done in this epoch
        # Set in every epoch, so that a resumed run has the same rounding errors.
        self._rate.set_curve(self._curve(), self.first_update, epoch, self.pipeline.steps_per_epoch)

    def on_train_batch_end(self, batch, logs=None):
        updates = self.pipeline.position[1] + batch + 1
        if updates // _UPDATES_A_READING != self._updates // _UPDATES_A_READING:
            self.parts.append(self._recorder.read())
        self._updates = updates

    def on_epoch_end(self, epoch, logs=None):
        logs = {} if logs is None else logs
        if self.warmup_epochs is None:
            self._end_epoch_of_warmup(epoch + 1, logs)
        logs["auto_wu_warming_up"] = int(self.warmup_epochs is None)
        if self.warmup_epochs is not None:
            logs["auto_wu_warmup_epochs"] = self.warmup_epochs
            logs["auto_wu_peak_learning_rate"] = self.peak_learning_rate
        if self.restored_epoch is not None:
            logs["auto_wu_restored_epoch"] = self.restored_epoch

    def on_train_end(self, logs=None):
        self._recorder.detach()
        restore_learning_rate(self.model, self._rate)

    def _check_fit(self, arguments):
        super()._check_fit(arguments)
        others = callbacks_of(arguments)
        if self.restore and self in others:  # else a user's callback calls this one
            epoch_copies.check_order(others[others.index(self) + 1 :])

    def _curve(self):
        """Returns the learning rate over epochs, as far as it is decided."""
        if self.warmup_epochs is None:
            return self.plan.curve
        return decay_from(self.plan.curve, self.warmup_epochs, self.peak_learning_rate)

    def _end_epoch_of_warmup(self, done: int, logs: dict) -> None:
        longest = self.plan.curve.segments[0].stop
        judgement = self._judge(done, logs) if done <= longest + EPOCH_TOLERANCE else None
        last = self.decisions[-PATIENCE:]
        if judgement and self.restore:
            self._keep_copy(done, judgement)
        if judgement and len(last) == PATIENCE and all(each["positive"] for each in last):
            if self.restore:
                self._go_back(done, judgement)
            self._stop(done, last[-1]["minimum_learning_rate"])
        elif done >= longest - EPOCH_TOLERANCE:
            self._stop(longest, self.plan.curve.segments[0].final)
        if self.file is not None and is_chief(getattr(self.model, "distribute_strategy", None)):
            self._write(judgement)

    def _judge(self, done: int, logs: dict):
        """Judges the losses after `done` epochs of warm-up; adds to the logs and decisions."""
        losses = np.concatenate([*self.parts, self._recorder.read()])
        if not len(losses):
            raise UserError(
                "model: expected one whose train step passes its loss to Keras' metric 'loss', "
                f"received {type(self.model).__name__}, which does not"
            )
        self.losses = [*self.losses, losses]
        judgement = judge(self.losses, self.state, self.seed)
        self.state = judgement.state
        rates = [self.plan.learning_rate(place * done) for place in judgement.minima]
        minimum = float(np.mean(rates)) if rates else None
        self.decisions.append(
            {
                "votes": judgement.votes,
                "positive": judgement.is_positive,
                "minimum_learning_rate": minimum,
                "learning_rate": self.plan.learning_rate(done),
            }
        )
        logs["auto_wu_votes"] = judgement.votes
        if minimum is not None:
            logs["auto_wu_minimum_learning_rate"] = minimum
        return judgement

    def _keep_copy(self, done: int, judgement) -> None:
        if len(self.copies) >= epoch_copies.MOST:
            minimum = _epoch_of_minimum(done, judgement)
            del self.copies[epoch_copies.superfluous(minimum, [*self.copies, done])]
        self.copies[done] = epoch_copies.read_state(self.model)

    def _go_back(self, done: int, judgement) -> None:
        minimum = _epoch_of_minimum(done, judgement)
        self.restored_epoch = epoch_copies.nearest(minimum, self.copies)
        epoch_copies.write_state(self.model, self.copies[self.restored_epoch])

    def _stop(self, epoch: float, learning_rate: float) -> None:
        self.warmup_epochs, self.peak_learning_rate = epoch, learning_rate
        self.copies = {}
        if not self._speaks():
            return
        now = self.plan.learning_rate(epoch)
        what = f"learning rate decays from {learning_rate:.4g} (the longest warm-up is over)"
        if learning_rate < now:
            rates = f"{now:.4g} -> {learning_rate:.4g}"
            what = f"learning rate {rates} (the loss has passed its minimum)"
            if self.restored_epoch is not None:
                what += f", weights as at the end of epoch {self.restored_epoch}"
        self._say(f"Epoch {int(epoch) + 1}: {what}")

    def _write(self, judgement) -> None:
        losses = np.concatenate([*self.losses, np.zeros(0)])
        sizes = [len(each) for each in self.losses]
        places = [number + np.arange(size) / size for number, size in enumerate(sizes)]
        places = np.concatenate([*places, np.zeros(0)])
        stride = max(1, -(-len(losses) // _LOSSES_IN_FILE))
        content = {
            "epochs": self.plan.epochs,
            "warmup_epochs": self.warmup_epochs,
            "peak_learning_rate": self.peak_learning_rate,
            "restored_epoch": self.restored_epoch,
            "decisions": self.decisions,
            "learning_rate": self._points(),
            "loss": {"epoch": _numbers(places[::stride]), "value": _numbers(losses[::stride])},
        }
        if judgement is not None and judgement.mean is not None:
            self._posterior = {
                "epoch": _numbers(GRID[::5] * len(self.losses)),
                "mean": _numbers(judgement.mean[::5]),
                "deviation": _numbers(judgement.deviation[::5]),
            }
        content["posterior"] = self._posterior
        self.file.parent.mkdir(parents=True, exist_ok=True)
        files.write_json(self.file, content)

    def _points(self) -> dict:
        curve, epochs = self._curve(), np.linspace(0, self.plan.epochs, _RATES_IN_FILE)
        return {"epoch": _numbers(epochs), "value": _numbers([curve(each) for each in epochs])}


def _numbers(values) -> list:
    """Rounds to 6 significant digits, as Python floats; None for values that are not finite."""
    return [float(f"{value:.6g}") if np.isfinite(value) else None for value in values]


def _epoch_of_minimum(done: int, judgement) -> int:
    """Returns the epoch of the minimum of the losses so far; the last one if none is finite."""
    place = float(np.mean(judgement.minima)) if judgement.minima else 1.0
    return epoch_copies.epoch_of(place, done)
