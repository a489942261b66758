"""Checkpoints from which a killed run resumes and reaches the same weights."""

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
    """Saves everything a run needs to resume as if it had never stopped, and restores it.

    A checkpoint holds the variables of the model (weights, batch-norm statistics, random
    generators) and of the optimizer (slots, iterations), the metrics of the current epoch, the
    batch size, the position in the data, and the state of the callbacks: Keras' own
    (EarlyStopping, ReduceLROnPlateau, SwapEMAWeights, ModelCheckpoint and the like), lbkeras' and
    yours. The state of your callback is what its `get_state()` returns and `set_state(state)`
    accepts, or else those of its attributes that are numbers, strings, arrays, variables, or lists,
    tuples, sets, dicts and deques of these; `fit` warns about other attributes. Callbacks that only
    display may be added or left out when a run resumes.

    A checkpoint is written at the end of each epoch and, with a BatchSizeScheduler, inside long
    epochs: atomically, as one file with checksums. The last two are kept. If an earlier `fit` left
    checkpoints with more updates, these are renamed to `*.superseded`. Costs writing the weights
    and the optimizer's slots: twice the size of the weights with momentum SGD, three times with
    Adam.

    If several workers train together, the chief writes, and all restore the checkpoint that it
    chooses, from a directory that all can read. The first worker whose `minutes` have passed
    triggers a checkpoint.

    Call `restore()` before `fit`, and put this callback last in the list:

        checkpoint = Checkpoint(directory, train, callbacks=others)
        model.fit(train, initial_epoch=checkpoint.restore(model), callbacks=[*others, checkpoint])

    Args:
        directory: directory of the files `update_N.npz`; created when needed.
        pipeline: the `lbkeras.data.Pipeline` that is passed to `fit` as `x`.
        callbacks: the other callbacks, in the same order as in `fit`.
        minutes: longest time without a checkpoint inside an epoch, in minutes, at least 0. Has an
            effect only with a callback that sets the batch size.

    Raises:
        UserError: an argument has the wrong type or is out of range; in `fit`, beside
            `keras.callbacks.BackupAndRestore`.
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
        self._pending = None  # restored once `fit` has reset metrics and callbacks

    def _check_backup(self, backup) -> None:
        raise UserError(
            "callbacks: expected Checkpoint or BackupAndRestore, as each restores its own state, "
            "received both"
        )

    def restore(self, model: keras.Model, report: Callable[[str], object] = print) -> int:
        """Restores the newest undamaged checkpoint into a built, compiled model and the pipeline.

        Args:
            model: the model with the same layers and optimizer as when the checkpoint was written.
            report: called with one line for each damaged file that is skipped, and if the next
                epochs have other data or another order than those before.

        Returns:
            The epoch to resume in, for `fit(initial_epoch=...)`; 0 without a checkpoint.

        Raises:
            UserError: the checkpoint belongs to another model or optimizer, was written inside an
                epoch of other data, or was written by a newer lbkeras.
        """
        if not model.optimizer.built:  # Keras' loss scaling would create its variables again
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
        """Checks that the data and their order are the same, if the checkpoint is inside an epoch.

        At the end of an epoch a difference is only reported.
        """
        order = state.get("order")  # 0.1.0 did not write it, nor the number of examples
        same = self.pipeline.resumes_in(order, workers)
        received = self.pipeline.order(workers)
        said = f"in the order of {order or 'a shuffle buffer'}, received {received}"
        other = self._is_of_other_data(state)
        if not state["step"]:
            if not same:
                report(f"checkpoint {path}: was written {said}: the next epochs have another order")
            if other:
                report(f"checkpoint {path}: was written with data that the next epochs do not use")
            return
        number = self.pipeline.num_examples
        written = state.get("num_examples", number)
        if written != number:
            raise UserError(
                f"checkpoint {path}: expected the data of the epoch in which it was written, "
                f"{written:,} examples, received {number:,}"
            )
        if not same:
            raise UserError(
                f"checkpoint {path}: expected the data of the epoch in which it was written, "
                f"{said}; {OTHER_VERSION}"
            )
        if other:
            raise UserError(
                f"checkpoint {path}: expected the data of the epoch in which it was written, "
                "received other data with as many examples"
            )

    def _is_of_other_data(self, state: dict) -> bool:
        """Whether the data are known to differ from those that the checkpoint was written with."""
        known_by, written = state.get("data") or ("", "")  # lbkeras 0.1.0 did not write it
        known_here_by, received = self.pipeline.contents()
        return known_by == known_here_by and bool(written and received) and written != received

    def _newest(self, report) -> tuple | None:
        """Returns path, state and arrays of the newest undamaged checkpoint."""
        for path in reversed(checkpoint_file.files_in(self.directory)):
            try:
                return path, *checkpoint_file.read(path)
            except (UserError, PermissionError, MemoryError):  # these do not mean damage
                raise
            except Exception as error:  # reading a damaged zip file can raise almost anything
                report(f"checkpoint {path} is damaged and skipped ({_first_line(error)})")
                path.replace(path.with_name(f"{path.name}.damaged"))
        return None

    def _chosen_by_the_chief(self, strategy, newest: tuple | None) -> tuple | None:
        """Returns the chief's newest checkpoint, in every worker."""
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
        """Writes a checkpoint from which a run resumes at step `step` of epoch `epoch`.

        All workers must call it, because reading values that differ between replicas takes all of
        them. Moving statistics that differ are replaced by their mean, in this run too, so that a
        run that resumes from the checkpoint equals this one.
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
        for later in files[files.index(path) + 1 :]:  # left by an earlier `fit`
            later.replace(later.with_name(f"{later.name}.superseded"))
        for old in files[: files.index(path) + 1][:-_KEEP]:
            old.unlink()
        return path

    def on_train_begin(self, logs=None):
        super().on_train_begin(logs)
        if is_chief(getattr(self.model, "distribute_strategy", None)):
            # Only here: a folder that is removed during training must not be created again.
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
        if state["step"]:  # `fit` and the callbacks have just reset the state of the epoch
            self._first_step = self.pipeline.start_step = state["step"]
            restore_metrics(self.model, arrays)
            self._restore_callbacks()
        self._pending = None

    def on_train_batch_end(self, batch, logs=None):
        self._step = self._first_step + min(batch + 1, self.pipeline.steps_in_pass)
        if self._agreement.largest(time.monotonic() - self._saved > 60 * self.minutes):
            self.save_inside_epoch()

    def save_inside_epoch(self) -> Path | None:
        """Writes a checkpoint after the current step and returns its path.

        Writes nothing and returns None after the last step of an epoch, and without a
        BatchSizeScheduler: Keras then counts the steps of an epoch itself and cannot begin inside
        one.
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
    """Returns the scope for creating the model's variables: that of its strategy, if it has one."""
    strategy = getattr(model, "distribute_strategy", None)
    return strategy.scope() if strategy is not None else contextlib.nullcontext()


def _first_line(error: Exception) -> str:
    return (str(error) or type(error).__name__).splitlines()[0]
