"""The passes that Keras makes over a Pipeline: the next epoch, and its batches for a strategy."""

import tensorflow as tf

from lbkeras.data.call_checks import check_call
from lbkeras.data.replica_shard import ALL_ROWS, ReplicaShard, shard_of
from lbkeras.errors import UserError
from lbkeras.keras_internals.data_adapter import DataAdapter, super_batches
from lbkeras.keras_internals.running_call import callbacks_of, running_call


class KerasAdapter(DataAdapter):
    """What Keras asks a Pipeline for, and what callbacks tell it of the epoch that begins."""

    def __init__(self):
        self.epoch = 0
        self.start_step = 0
        self._standing = {}  # Batching -> tf.data.Dataset
        self._pass = (0, 0)  # epoch and first step of the running pass
        self._left_pass = None  # during an evaluation, the one before it
        self._preparing = False  # Keras is setting up: what it takes now is not an epoch
        self._first_pass = False  # of a `fit`, still to come
        self._resumed = False
        self._strategy = None

    @property
    def steps_in_pass(self) -> int:
        """Batches in the running pass: `steps_per_epoch` less what a resumed epoch leaves out."""
        return self.steps_per_epoch - self._pass[1]

    @property
    def position(self) -> tuple[int, int]:
        """Epoch and first step of the running pass: `dataset(*position)` are its batches."""
        return self._pass

    def use_strategy(self, strategy: tf.distribute.Strategy) -> None:
        """Tells the strategy that each batch is distributed by, where a callback owns its size.

        Args:
            strategy: the model's.
        """
        self._strategy = strategy

    def resume(self, batch_size: int) -> None:
        """Lets the next `fit` go on with a batch size that a callback had chosen."""
        self._batch_size = self._checked(batch_size)
        self._resumed = True

    def begin_epoch(self, epoch: int, batch_size: int) -> None:
        """Announces the next pass: a callback that follows a schedule calls this each epoch."""
        self._batch_size = self._checked(batch_size)
        self.epoch = epoch
        if running_call()[0] == "fit" and not self.is_scheduled:
            # Keras counts the steps of an epoch itself, and would count those of another size.
            raise UserError(
                "callbacks: expected what sets the batch size in the list that fit gets, received "
                "it inside another callback"
            )

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
        if call in ("evaluate", "predict"):  # maybe inside an epoch of a `fit`
            self._left_pass, self._pass = self._pass, (self.epoch, 0)
            return
        if self._first_pass and not self._preparing:
            # BackupAndRestore has changed it since `fit` was called.
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
        # Keras calls this once a `fit`, may then take a batch to build the model, and calls
        # `on_epoch_end` before the first epoch.
        self._preparing = True
        check_call(self)
        if self.is_scheduled:
            return _BatchesOfEachEpoch(self)
        return self._distributed(self._standing_dataset)

    def get_numpy_iterator(self):
        return self._pass_dataset(ALL_ROWS).as_numpy_iterator()

    def get_jax_iterator(self, super_batch: int | None = None):
        check_call(self)
        batches = self.get_numpy_iterator()
        return super_batches(batches, super_batch) if super_batch else batches

    def _begin_fit(self, initial_epoch: int) -> None:
        """Forgets earlier fits: the order is `initial_epoch`'s, the batch size the one set last."""
        self._preparing = self._first_pass = True
        self.epoch = initial_epoch
        if initial_epoch == 0 and not self._resumed:
            self._batch_size = self._own_batch_size

    # How a pass is made.

    def _distributed(self, make):
        """`make(shard)` for each worker of the strategy, or for one device."""
        if self._strategy is None:
            return make(ALL_ROWS)
        return self._strategy.distribute_datasets_from_function(
            lambda context: make(shard_of(context, interleaved=not self.shuffle))
        )

    def _iterate_pass(self):
        """The batches of the running pass; Keras builds the model from a whole one."""
        if self._preparing:
            return iter(self._pass_dataset(ALL_ROWS))
        return iter(self._distributed(self._pass_dataset))

    def _pass_dataset(self, shard: ReplicaShard) -> tf.data.Dataset:
        lasting = not (self._in_memory and self.shuffle)
        if lasting and self._pass[1] == 0:
            return self._standing_dataset(shard)
        return self._epoch_dataset(*self._pass, shard)  # type: ignore[call-arg]

    def _epoch_dataset(self, epoch: int, start_step: int, shard: ReplicaShard) -> tf.data.Dataset:
        return self._batches(self._batching(shard)).of_pass(epoch, start_step)

    def _standing_dataset(self, shard: ReplicaShard = ALL_ROWS) -> tf.data.Dataset:
        """A data set for every pass at this batch size: it asks for its order when it starts."""
        batching = self._batching(shard)
        if batching not in self._standing:
            self._standing[batching] = self._batches(batching).of_each_pass(lambda: self._pass)
        return self._standing[batching]


class _BatchesOfEachEpoch(tf.distribute.DistributedDataset):
    """What Keras iterates, anew each epoch: the batches at the batch size of that moment."""

    def __init__(self, pipeline: KerasAdapter):
        self._pipeline = pipeline

    def __iter__(self):
        return self._pipeline._iterate_pass()

    @property
    def element_spec(self):
        return self._pipeline.element_spec
