"""AutoWU: finds the learning rate by warming up until the loss has passed its minimum."""

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
    far tests whether the minimum is behind (`judgement.judge`). When that holds in 3 epochs, one
    after the other, the learning rate goes back to the one that it had at the minimum,

        mean over the 5 tests of min_learning_rate · (now / min_learning_rate)^x

    with x the place of the minimum in [0, 1], and decays from there. If the longest warm-up passes,
    it decays from the learning rate reached. The plan says the rest:

        plan = planning.auto_wu_plan(epochs=20, batch_size=256, momentum=0.9,
                                     num_examples=train.num_examples)
        model.compile(keras.optimizers.SGD(momentum=0.9), ...)   # a number as learning rate
        model.fit(train, epochs=plan.epochs, callbacks=[AutoWU(train, plan)])

    With `restore=True` the state goes back too, to the end of the epoch nearest the minimum:
    weights, optimizer slots, statistics (of batch norm and the like), the average of the weights
    and the loss scale, all floating-point variables. Whole numbers go on: the number of updates,
    which learning rate and remaining length follow (Adam's bias correction then takes it for that
    of its slots, which has passed by a few epochs), and random states, so that dropout draws anew.
    So do the data: no epoch is read again. Statistics that differ between replicas become their
    mean at each epoch's end of the warm-up.

    With `restore=False`, as in the paper, weights, slots and statistics stay where the last epochs
    took them. In a short run the learning rate grows by 10^(5 / epochs of the longest warm-up) in
    each of them, and the weights may not come back from there: hence the default, which was chosen
    on held-out data.

    The warm-up is counted in epochs: a batch size that changes (put its callback before this one)
    leaves learning rates over epochs as they are. Works with any `steps_per_execution` and
    strategy; all workers decide the same, and so does a run that goes on from a `Checkpoint`.
    Losses that are NaN or infinite are left out; beside `StopOnNaN` (and so in `lbkeras train`) the
    run ends there.

    The epoch's logs are of the weights before they go back: what keeps the weights of the best
    epoch (`EarlyStopping(restore_best_weights=True)`, `ModelCheckpoint(save_best_only=True)`) comes
    before this callback.

    Logs at each epoch's end: `auto_wu_warming_up` (1 or 0); in the warm-up `auto_wu_votes` (of 5
    tests, how many are positive) and `auto_wu_minimum_learning_rate` (at the posterior's minimum);
    after it `auto_wu_warmup_epochs` and `auto_wu_peak_learning_rate`, from which it decays, and, if
    it has gone back, `auto_wu_restored_epoch`: after how many epochs the state was as it is then.

    Costs about 10 ms per epoch of the warm-up and less than 50 microseconds per update. With
    `restore=True` also host memory for 4 copies of weights, slots and statistics, and in the
    warm-up as many times more to write into each checkpoint: for ResNet-50 (25.6 million weights)
    with AdamP 1.2 GB.

    Args:
        pipeline: the `lbkeras.data.Pipeline` that `fit` gets as `x`.
        plan: of `lbkeras.planning.auto_wu_plan`.
        seed: of the tests' random subsets, the same in all workers.
        file: JSON file for the report's picture; None: none.
        restore: whether the model goes back with the learning rate; False is the paper's form.

    Attributes:
        warmup_epochs: how long the warm-up was; None while it lasts.
        peak_learning_rate: what it decays from; None in the warm-up.
        restored_epoch: after how many epochs the state was that it went back to; None: it did not.

    Raises:
        UserError: a plan of another kind, or of fewer epochs than `fit` runs; an optimizer with
            another momentum than the plan's (0 for one without) or a schedule, another callback
            that sets the learning rate; gradient_accumulation_steps, for which updates are counted
            in another way; a model whose train step does not hand its loss to Keras' metric; with
            `restore=True`, what keeps the weights of the best epoch after it.

    Differs from the paper: `restore=True` is ours. Hyper-parameters and tests are as in the
    authors' code, see `judge`. Counted in epochs, so that the last test may fall on the very end of
    the longest warm-up, which the code leaves out. Its further options are not here, one of which
    is without effect there (a decay factor per epoch) and one of which halves the learning rate at
    once (`half_cosine`).

    Reference: Kim et al., "Automated Learning Rate Scheduler for Large-batch Training",
    arXiv 2107.05855, section 3 and algorithm 1.
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
            received = type(plan).__name__ if not isinstance(plan, Plan) else "another"
            raise UserError(f"plan: expected one of auto_wu_plan, received {received}")
        self.plan = plan
        self.seed = checks.integer("seed", seed, minimum=0)
        self.file = None if file is None else checks.path("file", file)
        self.restore = checks.flag("restore", restore)
        self._posterior = None  # of the last test, for the file
        self._reset()

    def _reset(self):
        # What a checkpoint holds.
        self.epoch = -1  # the running one
        self.first_update = 0  # of the running epoch
        self.losses = []  # an array per epoch of the warm-up
        self.parts = []  # of the running epoch's losses, as far as they are read
        self.state = None  # of the Gaussian process
        self.decisions = []  # an entry per epoch of the warm-up
        self.copies = {}  # the state at the end of some epochs, by how many were done
        self.warmup_epochs = None
        self.peak_learning_rate = None
        self.restored_epoch = None

    @property
    def variables(self) -> list:
        """The losses that are still on the device, for a checkpoint inside an epoch."""
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
        if epoch != self.epoch:  # else a run goes on inside this epoch
            self.epoch = epoch
            self.first_update = int(keras.ops.convert_to_numpy(self.model.optimizer.iterations))
            self.parts = []
            self._recorder.clear()
        self._updates = 0  # that this epoch is known to have made
        # In every epoch, so that one that goes on after a resume has the same rounding errors.
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
        if self.restore and self in others:  # else a callback of somebody's own calls it
            epoch_copies.check_order(others[others.index(self) + 1 :])

    def _curve(self):
        """The learning rates over epochs, as far as they are decided."""
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
        """The judgement after `done` epochs of warm-up, which goes to the logs and decisions."""
        losses = np.concatenate([*self.parts, self._recorder.read()])
        if not len(losses):
            raise UserError(
                "model: expected one whose train step hands its loss to Keras' metric 'loss', "
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
    """Plain numbers of 6 digits, None for what is not finite."""
    return [float(f"{value:.6g}") if np.isfinite(value) else None for value in values]


def _epoch_of_minimum(done: int, judgement) -> int:
    """Where the losses of `done` epochs have their minimum; where none is finite, the newest."""
    place = float(np.mean(judgement.minima)) if judgement.minima else 1.0
    return epoch_copies.epoch_of(place, done)
