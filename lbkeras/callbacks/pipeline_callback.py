"""Base class of the callbacks that act on a Pipeline; checks that `fit` trains on it."""

import keras

from lbkeras.distribution.agreement import is_chief
from lbkeras.errors import UserError
from lbkeras.keras_internals.data_adapter import DataAdapter
from lbkeras.keras_internals.running_call import callbacks_of, running_call

# Keras' callbacks that set the learning rate themselves.
_SET_LEARNING_RATE = (
    keras.callbacks.LearningRateScheduler,
    keras.callbacks.ReduceLROnPlateau,
)


class PipelineCallback(keras.callbacks.Callback):
    """A callback that acts on the `lbkeras.data.Pipeline` that is passed to `fit` as `x`.

    Its `on_train_begin` refuses a `fit` on which it could not act. Subclasses set class attributes:

    - `owns_batch_size`, `owns_learning_rate`: it sets this; a `fit` has at most one owner of each.
    - `needs_checkpoint`: `Checkpoint` restores its state, Keras' BackupAndRestore does not.
    - `changes_the_step`: its `set_model` adds to the train step, so a dry run includes it.

    Args:
        pipeline: the Pipeline.

    Raises:
        UserError: `pipeline` is not a Pipeline; or, in `fit`: another `x`, `steps_per_epoch`, a
            second owner, or BackupAndRestore together with a callback that it does not restore.
    """

    owns_batch_size = False
    owns_learning_rate = False
    changes_the_step = False
    needs_checkpoint = False

    def __init__(self, pipeline):
        super().__init__()
        if not (isinstance(pipeline, DataAdapter) and hasattr(pipeline, "begin_epoch")):
            raise UserError(
                f"pipeline: expected a lbkeras.data.Pipeline, received {_kind(pipeline)}"
            )
        self.pipeline = pipeline

    def on_train_begin(self, logs=None):
        super().on_train_begin(logs)
        name, arguments = running_call(self.model)
        if name == "fit":  # else a custom training loop
            self._check_fit(arguments)
            if arguments["initial_epoch"] == 0:
                self.begin_anew()

    def _speaks(self) -> bool:
        """Whether `fit` may print, which `verbose=0` forbids."""
        return bool((self.params or {}).get("verbose"))

    def _say(self, text: str) -> None:
        """Prints a line; if several workers train together, only the chief prints."""
        if is_chief(getattr(self.model, "distribute_strategy", None)):
            print(text, flush=True)

    def begin_anew(self) -> None:
        """Forgets earlier fits; runs before a checkpoint is restored."""

    def _check_fit(self, arguments: dict) -> None:
        me, x = type(self).__name__, arguments["x"]
        if x is not self.pipeline:
            received = "another Pipeline" if isinstance(x, type(self.pipeline)) else _kind(x)
            raise UserError(
                f"{me}: expected its own Pipeline as the data of model.fit(pipeline, ...), "
                f"received {received}"
            )
        if arguments.get("steps_per_epoch") is not None:
            raise UserError(
                f"steps_per_epoch: expected none with {me}, for which an epoch is one pass over "
                f"the pipeline, received {arguments['steps_per_epoch']}"
            )
        for other in callbacks_of(arguments):
            if other is not self:
                self._check_owners(other)
            if isinstance(other, keras.callbacks.BackupAndRestore):
                self._check_backup(other)

    def _check_owners(self, other) -> None:
        names = f"{type(self).__name__} and {type(other).__name__} cannot both set it; expected one"
        if self.owns_batch_size and getattr(other, "owns_batch_size", False):
            raise UserError(f"batch_size: {names} of the two callbacks")
        if self.owns_learning_rate and sets_learning_rate(other):
            raise UserError(f"learning_rate: {names} of the two callbacks")

    def _check_backup(self, backup) -> None:
        if self.needs_checkpoint:
            raise UserError(
                "callbacks: expected lbkeras.callbacks.Checkpoint, which restores the state of "
                f"{type(self).__name__}, received Keras' BackupAndRestore, which does not"
            )
        if self.owns_batch_size and backup.save_freq != "epoch":
            raise UserError(
                f"save_freq: expected BackupAndRestore(save_freq='epoch') with "
                f"{type(self).__name__}, as Keras starts an epoch over with the weights saved "
                f"inside it (lbkeras.callbacks.Checkpoint resumes there), received "
                f"{backup.save_freq!r}"
            )


def sets_learning_rate(callback) -> bool:
    """Whether a callback, Keras' or ours, sets the learning rate."""
    return isinstance(callback, _SET_LEARNING_RATE) or getattr(
        callback, "owns_learning_rate", False
    )


def _kind(x) -> str:
    kind = type(x)
    return kind.__name__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__name__}"
