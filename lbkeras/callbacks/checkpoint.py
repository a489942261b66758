"""Checkpoints from which a killed run goes on to the same weights."""

import contextlib
import time
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import keras
import numpy as np

from lbkeras import checks
from lbkeras.callbacks import callback_state, checkpoint_file
from lbkeras.callbacks.checkpoint_contents import (
    OTHER_VERSION,
    array_of,
    build_metrics,
    check_fits,
    metrics_arrays,
    optimizer_classes,
    owners,
    restore_metrics,
    variables_of,
)
from lbkeras.callbacks.pipeline_callback import PipelineCallback
from lbkeras.distribution.agreement import Agreement, gather, is_chief, num_workers
from lbkeras.distribution.replica_average import average_over_replicas
from lbkeras.errors import UserError
from lbkeras.files import write_atomically
from lbkeras.keras_internals.callbacks import finish_averages, keep_both_at_the_end
from lbkeras.keras_internals.model import sync_variables

if TYPE_CHECKING:
    from lbkeras.data.pipeline import Pipeline

_KEEP = 2


class Checkpoint(PipelineCallback):
    """Saves all that a run needs to go on as if it had never stopped, and restores it.

    A checkpoint holds the model's variables (weights, batch-norm statistics, random generators),
    the optimizer's (slots, iterations), the metrics of a running epoch, the batch size, the place
    in the data, and the state of the callbacks: of Keras' own (EarlyStopping, ReduceLROnPlateau,
    SwapEMAWeights, ModelCheckpoint and the like), of ours, and of yours: their attributes that hold
    numbers, strings, arrays, variables and lists, tuples, sets, dicts and deques of them, or what
    their `get_state()` returns and `set_state(state)` takes. Others are named when `fit` begins. A
    callback that only shows may come and go between runs. It is written at each epoch's end and,
    beside a BatchSizeScheduler, inside long epochs: as one file with checksums, atomically; the
    last two are kept, and those of an earlier `fit` that lie ahead become `*.superseded`. Costs a
    write of the weights and the optimizer's slots: twice the weights with momentum SGD, three times
    with Adam.

    Where several workers train together, the chief writes and all restore what it chooses, from a
    directory that all of them see; the minutes are those of the worker whose clock is first.

    Call `restore()` before `fit`, and put this callback last in the list:

        checkpoint = Checkpoint(directory, train, callbacks=others)
        model.fit(train, initial_epoch=checkpoint.restore(model), callbacks=[*others, checkpoint])

    Args:
        directory: where the files `update_N.npz` go; made when needed.
        pipeline: the `lbkeras.data.Pipeline` that `fit` gets as `x`.
        callbacks: the other callbacks, in the order in which `fit` gets them.
        minutes: how long a run may go unsaved inside an epoch, at least 0.

    Raises:
        UserError: an argument of another type or out of its range.
    """

    def __init__(
        self,
        directory: Path | str,
        pipeline: "Pipeline",
        callbacks: Sequence[keras.callbacks.Callback] = (),
        minutes: float = 10.0,
    ):
        super().__init__(pipeline)
        self.directory = checks.path("directory", directory)
        self.callbacks = list(checks.sequence("callbacks", callbacks))
        for each in self.callbacks:
            if not isinstance(each, keras.callbacks.Callback):
                raise UserError(f"callbacks: expected Keras callbacks, received {each!r}")
        self.minutes = checks.not_negative("minutes", minutes)
        self._pending = None  # what is restored once `fit` has reset metrics and callbacks

    def _check_backup(self, backup) -> None:
        raise UserError(
            "callbacks: expected Checkpoint or BackupAndRestore, as each restores a state of its "
            "own, received both"
        )

    def restore(self, model: keras.Model, report: Callable[[str], object] = print) -> int:
        """Restores the newest undamaged checkpoint into a built, compiled model and the pipeline.

        Args:
            model: as it was when the checkpoint was written: the same layers and optimizer.
            report: called with one line for each damaged file that is passed over.

        Returns:
            The epoch to go on with, for `fit(initial_epoch=...)`; 0 without a checkpoint.

        Raises:
            UserError: the checkpoint is of another model or optimizer, or was written inside an
                epoch of other data, or a newer lbkeras wrote it.
        """
        if not model.optimizer.built:  # Keras' loss scaling would make its variables again
            with _scope(model):
                model.optimizer.build(model.trainable_variables)
        strategy = getattr(model, "distribute_strategy", None)
        newest = self._newest(report) if is_chief(strategy) else None
        if num_workers(strategy) > 1:
            newest = self._chosen_by_the_chief(strategy, newest)
        if newest is None:
            return 0
        path, state, arrays = newest
        check_fits(path, state, arrays, model)
        self._check_data(path, state, num_workers(strategy), report)
        for name, variable in variables_of(model).items():
            variable.assign(arrays[name])
        self.pipeline.resume(state["batch_size"])
        if state["step"]:
            with _scope(model):
                build_metrics(model, self.pipeline)
        self._pending = (path, state, arrays)
        return state["epoch"]

    def _check_data(self, path: Path, state: dict, workers: int, report) -> None:
        """A place inside an epoch is one in these data only, and in their order."""
        order = state.get("order")  # 0.1.0 did not write it, nor the number of examples
        same = self.pipeline.resumes_in(order, workers)
        received = self.pipeline.order(workers)
        said = f"in the order of {order or 'a shuffle buffer'}, received {received}"
        other = self._is_of_other_data(state)
        if not state["step"]:
            if not same:
                report(f"checkpoint {path}: was written {said}: the next epochs have another order")
            if other:
                report(f"checkpoint {path}: was written with other data than the next epochs have")
            return
        number = self.pipeline.num_examples
        written = state.get("num_examples", number)
        if written != number:
            raise UserError(
                f"checkpoint {path}: expected the data of the epoch inside which it was written, "
                f"{written:,} examples, received {number:,}"
            )
        if not same:
            raise UserError(
                f"checkpoint {path}: expected the data of the epoch inside which it was written, "
                f"{said}; {OTHER_VERSION}"
            )
        if other:
            raise UserError(
                f"checkpoint {path}: expected the data of the epoch inside which it was written, "
                "received others of the same number"
            )

    def _is_of_other_data(self, state: dict) -> bool:
        """Whether the data differ from those it was written with, as far as that is known."""
        known_by, written = state.get("data") or ("", "")  # lbkeras 0.1.0 did not write it
        known_here_by, received = self.pipeline.contents()
        return known_by == known_here_by and bool(written and received) and written != received

    def _newest(self, report) -> tuple | None:
        """The newest undamaged checkpoint: its path, state and arrays."""
        for path in reversed(checkpoint_file.files_in(self.directory)):
            try:
                return path, *checkpoint_file.read(path)
            except (UserError, PermissionError, MemoryError):  # which say nothing of the file
                raise
            except Exception as error:  # reading a damaged zip file raises nearly anything
                report(f"checkpoint {path} is damaged and passed over ({_first_line(error)})")
                path.replace(path.with_name(f"{path.name}.damaged"))
        return None

    def _chosen_by_the_chief(self, strategy, newest: tuple | None) -> tuple | None:
        """The chief's newest checkpoint, in every worker."""
        updates = checkpoint_file.updates_of(newest[0]) if newest else -1
        updates = int(gather(strategy, [updates])[0, 0])
        if updates < 0:
            return None
        path = checkpoint_file.path_in(self.directory, updates)
        problem = ""
        if newest is None:
            try:
                newest = path, *checkpoint_file.read(path)
            except Exception as error:
                problem = _first_line(error)
        missing = np.flatnonzero(gather(strategy, [bool(problem)]))
        if len(missing):
            raise UserError(
                f"checkpoint {path}: expected a folder on a file system that all workers share, "
                f"received one that worker {missing[0]} cannot read" + (problem and f": {problem}")
            )
        return newest

    def save(self, epoch: int, step: int) -> Path:
        """Writes a checkpoint from which epoch `epoch` goes on at its step `step`.

        All workers must call it: to read what differs between replicas takes all of them. Moving
        statistics that differ become their mean, in this run too, so that one that goes on from
        the checkpoint equals it.
        """
        strategy = getattr(self.model, "distribute_strategy", None)
        average_over_replicas(self.model)
        arrays = {name: array_of(v) for name, v in variables_of(self.model).items()}
        if step:
            arrays |= metrics_arrays(self.model)
        state = {
            "format": checkpoint_file.CHECKPOINT_FORMAT,
            "epoch": epoch,
            "step": step,
            "batch_size": self.pipeline.batch_size,
            "num_examples": self.pipeline.num_examples,
            "data": self.pipeline.contents(),
            "order": self.pipeline.order(num_workers(strategy)),
            "optimizer": optimizer_classes(self.model.optimizer),
            "callbacks": [
                {
                    "class": type(each).__name__,
                    **callback_state.get_state(each, f"callback/{i}", arrays),
                }
                for i, each in enumerate(self.callbacks)
            ],
            "dtypes": {name: array.dtype.name for name, array in arrays.items()},
        }
        updates = int(keras.ops.convert_to_numpy(self.model.optimizer.iterations))
        path = checkpoint_file.path_in(self.directory, updates)
        if not is_chief(strategy):
            return path
        write_atomically(path, checkpoint_file.encoded(state, arrays))
        files = checkpoint_file.files_in(self.directory)
        for later in files[files.index(path) + 1 :]:  # of an earlier `fit`, which begins anew here
            later.replace(later.with_name(f"{later.name}.superseded"))
        for old in files[: files.index(path) + 1][:-_KEEP]:
            old.unlink()
        return path

    def on_train_begin(self, logs=None):
        super().on_train_begin(logs)
        if is_chief(getattr(self.model, "distribute_strategy", None)):
            # Never later: a folder that is removed while it trains must not come back.
            self.directory.mkdir(parents=True, exist_ok=True)
        self._agreement = Agreement(getattr(self.model, "distribute_strategy", None))
        self._restore_callbacks()
        self._swapping = keep_both_at_the_end(self.callbacks)
        for each in self.callbacks:
            if names := callback_state.not_kept(each):
                warnings.warn(
                    f"{type(each).__name__}: a checkpoint does not keep {', '.join(names)}; give "
                    "the callback get_state() and set_state(state)",
                    stacklevel=2,
                )

    def on_epoch_begin(self, epoch, logs=None):
        self._epoch = self.pipeline.epoch = epoch
        self._first_step = 0
        self._saved = time.monotonic()
        if self._pending is None:
            return
        _, state, arrays = self._pending
        if state["step"]:  # `fit` and the callbacks have just reset what belongs to the epoch
            self._first_step = self.pipeline.start_step = state["step"]
            restore_metrics(self.model, arrays)
            self._restore_callbacks()
        self._pending = None

    def on_train_batch_end(self, batch, logs=None):
        self._step = self._first_step + min(batch + 1, self.pipeline.steps_in_pass)
        if self._agreement.largest(time.monotonic() - self._saved > 60 * self.minutes):
            self.save_inside_epoch()

    def save_inside_epoch(self) -> Path | None:
        """Writes a checkpoint after the step just done.

        None where the epoch ends with it, and without a BatchSizeScheduler: Keras then counts the
        steps of an epoch itself and cannot begin inside one.
        """
        if self._step >= self.pipeline.steps_per_epoch or not self.pipeline.is_scheduled:
            return None
        sync_variables(self.model)
        path = self.save(self._epoch, self._step)
        self._saved = time.monotonic()
        return path

    def on_epoch_end(self, epoch, logs=None):
        self.save(epoch + 1, 0)
        if epoch + 1 == (self.params or {}).get("epochs"):
            finish_averages(self._swapping)

    def _restore_callbacks(self):
        if self._pending is None:
            return
        path, state, arrays = self._pending
        for callback, saved in owners(path, state["callbacks"], self.callbacks):
            try:
                callback_state.set_state(callback, saved, arrays)
            except UserError as error:
                raise UserError(f"checkpoint {path}: {error}; {OTHER_VERSION}") from error


def _scope(model):
    """Where the model's variables are made: under its strategy, if the backend has such a thing."""
    strategy = getattr(model, "distribute_strategy", None)
    return strategy.scope() if strategy is not None else contextlib.nullcontext()


def _first_line(error: Exception) -> str:
    return (str(error) or type(error).__name__).splitlines()[0]
