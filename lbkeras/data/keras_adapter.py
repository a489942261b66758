"""Keeps track of Keras' passes over a Pipeline: which epoch is next, and where it begins."""

from lbkeras.data.call_checks import check_call
from lbkeras.errors import UserError
from lbkeras.keras_internals.borrowed import give_back_all
from lbkeras.keras_internals.data_adapter import DataAdapter
from lbkeras.keras_internals.running_call import callbacks_of, running_call, running_model


class KerasAdapter(DataAdapter):
    """Answers Keras' questions about a Pipeline, and takes the next epoch from callbacks."""

    def __init__(self):
        self.epoch = 0
        self.start_step = 0
        self._pass = (0, 0)  # epoch and first step of the running pass
        self._left_pass = None  # during an evaluation, the pass that it interrupts
        self._preparing = False  # Keras is setting up: its next iteration is not an epoch
        self._first_pass = False  # whether the first pass of a `fit` is still to come
        self._resumed = False
        self.strategy = None

    @property
    def steps_in_pass(self) -> int:
        """Batches in the running pass: `steps_per_epoch` minus the steps that a resume skips."""
        return self.steps_per_epoch - self._pass[1]

    @property
    def position(self) -> tuple[int, int]:
        """Epoch and first step of the running pass: `dataset(*position)` are its batches."""
        return self._pass

    def use_strategy(self, strategy) -> None:
        """Sets the strategy that distributes each batch when a callback owns the batch size.

        Args:
            strategy: the model's `tf.distribute.Strategy`, or None.
        """
        self.strategy = strategy

    def resume(self, batch_size: int) -> None:
        """Lets the next `fit` continue with a batch size that a callback has chosen."""
        self._batch_size = self._checked(batch_size)
        self._resumed = True

    def begin_epoch(self, epoch: int, batch_size: int) -> None:
        """Announces the next pass; a callback that follows a schedule calls this each epoch."""
        self._batch_size = self._checked(batch_size)
        self.epoch = epoch
        if running_call()[0] == "fit" and not self.is_scheduled:
            # Keras counts the steps of an epoch itself, and would use another batch size.
            raise UserError(
                "callbacks: expected the callback that sets the batch size in the list that fit "
                "gets, received it inside another callback"
            )

    @property
    def is_preparing(self) -> bool:
        """Whether Keras is setting up a call: the batch that it takes now builds the model."""
        return self._preparing

    @property
    def is_scheduled(self) -> bool:
        """Whether a callback of the running `fit` owns the batch size and ends each epoch."""
        call, arguments = running_call()
        if call != "fit" or arguments["x"] is not self:
            return False
        callbacks = callbacks_of(arguments)
        return any(getattr(each, "owns_batch_size", False) for each in callbacks)

    # What Keras asks of a DataAdapter.

    @property
    def num_batches(self) -> int | None:
        # Keras asks when `fit` begins, and again when the model is built, before the first epoch.
        call, arguments = running_call()
        if call == "fit" and arguments["x"] is self:
            self._begin_fit(arguments["initial_epoch"])
        return None if self.is_scheduled else self.steps_per_epoch

    @property
    def has_partial_batch(self) -> bool:
        return not self.shuffle and self.num_examples % self.batch_size > 0

    @property
    def partial_batch_size(self) -> int | None:
        return self.num_examples % self.batch_size if self.has_partial_batch else None

    def on_epoch_begin(self):
        call, arguments = running_call()
        if call in ("evaluate", "predict"):  # perhaps inside an epoch of a `fit`
            self._left_pass, self._pass = self._pass, (self.epoch, 0)
            return
        if self._first_pass and not self._preparing:
            # BackupAndRestore has changed `initial_epoch` since `fit` was called.
            self._first_pass = False
            if call == "fit" and arguments["x"] is self:
                self.epoch = arguments["initial_epoch"]
        self._pass = (self.epoch, self.start_step)
        if not self._preparing:
            self.epoch, self.start_step = self.epoch + 1, 0
            self._resumed = False

    def on_epoch_end(self):
        self._preparing = False
        if self._left_pass is not None:
            self._pass, self._left_pass = self._left_pass, None

    def get_tf_dataset(self):
        # Keras calls this once per `fit`, may then take a batch to build the model, and calls
        # `on_epoch_end` before the first epoch.
        self._preparing = True
        check_call(self)
        return self._passes.of_each_epoch() if self.is_scheduled else self._passes.of_all_passes()

    def get_numpy_iterator(self):
        return self._passes.arrays()

    @property
    def places_its_batches(self) -> bool:
        """Whether JAX gets batches that are already divided among its devices."""
        return self._passes.places_its_batches

    def get_jax_iterator(self, super_batch: int | None = None):
        check_call(self)
        return self._passes.for_jax(super_batch)

    def _begin_fit(self, initial_epoch: int) -> None:
        """Forgets earlier fits: starts at `initial_epoch`'s order and the batch size set last."""
        self._preparing = self._first_pass = True
        give_back_all(running_model())
        self.epoch = initial_epoch
        if initial_epoch == 0 and not self._resumed:
            self._batch_size = self._own_batch_size
