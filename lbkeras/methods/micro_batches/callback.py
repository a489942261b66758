"""Batches larger than a device's memory, in micro-batches; smaller ones when memory runs out."""

import inspect
from pathlib import Path
from typing import TYPE_CHECKING

import tensorflow as tf

from lbkeras import checks
from lbkeras.callbacks.losses_of_pairs import check_losses
from lbkeras.callbacks.optimizer_settings import check_no_accumulation
from lbkeras.callbacks.pipeline_callback import PipelineCallback
from lbkeras.errors import UserError
from lbkeras.files import read_json_object, write_json
from lbkeras.keras_internals.model import train_function
from lbkeras.keras_internals.running_call import callbacks_of, running_call
from lbkeras.methods.micro_batches.train_step import check_micro_batch_size, micro_batch_train_step
from lbkeras.methods.micro_batches.update_progress import UpdateProgress

if TYPE_CHECKING:
    from lbkeras.data.pipeline import Pipeline


class MicroBatches(PipelineCallback):
    """Computes each batch of a replica in micro-batches, and in smaller ones when memory runs out.

    `batch_size` stays what it is: gradients add up to one update, and one `optimizer.iterations`,
    one tick of a schedule and one call of a callback is a global batch, as
    `lbkeras.trainers.micro_batch_train_step` describes. A step that fails with RESOURCE_EXHAUSTED
    is repeated on the same data with half the micro-batch, again until it fits, and one line says
    so; nothing is lost or applied twice. It works with any `steps_per_execution`, `jit_compile`,
    strategy and batch-size schedule, wherever it stands in the list of callbacks.

    Costs one trace of the model for each batch size that is divided (undivided ones share theirs);
    a step of two pieces takes about as long as an undivided one. An attempt that fails takes some
    10 s, for which TensorFlow waits for memory; `lbkeras plan --probe` finds the size beforehand.

    With several workers a failed step cannot be repeated, since the others wait for its gradients:
    the size is stored in `file`, and the run ends with an error that asks to start it again.

    Args:
        pipeline: the `lbkeras.data.Pipeline` that `fit` gets as `x`.
        micro_batch_size: examples of a replica in one piece, 1 to the largest batch of a replica;
            smaller batches run undivided. None: undivided, until memory runs out.
        file: a path; a size found by halving is written there as JSON `{"micro_batch_size": n}`,
            and a later run starts with it. None: not kept.

    Attributes:
        micro_batch_size: the size now in use, or None.

    Raises:
        UserError: what `micro_batch_train_step` raises; a size above the replica's batch; a file
            with other content; in `fit`, a loss over pairs of the batch, such as Keras'
            `Circle`, memory that one example exceeds, memory that runs out in the middle of an
            update, or with several workers.

    >>> import keras
    >>> from lbkeras.data import Pipeline
    >>> train = Pipeline((tf.zeros((64, 4)), tf.zeros(64)), batch_size=32)
    >>> model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(1)])
    >>> model.compile("sgd", "mse")
    >>> history = model.fit(train, verbose=0, callbacks=[MicroBatches(train, 8)])
    >>> int(model.optimizer.iterations)
    2

    Reference: Hoffer, Hubara and Soudry 2017, arXiv:1705.08741, Section 4, for batch normalization
    over parts of a batch.
    """

    def __init__(
        self, pipeline: "Pipeline", micro_batch_size: int | None = None, file: Path | None = None
    ):
        super().__init__(pipeline)
        check_micro_batch_size(micro_batch_size)
        self.file = None if file is None else checks.path("file", file)
        self._wanted = micro_batch_size
        sizes = [micro_batch_size, _stored(self.file)]
        self.micro_batch_size = min((size for size in sizes if size is not None), default=None)
        self._fit_begins = False

    def set_model(self, model):
        super().set_model(model)
        self._strategy = model.distribute_strategy
        self._progress = None if self._several_workers() else UpdateProgress(self._strategy)
        self._step = None
        micro_batch_train_step(model, self.micro_batch_size)  # its errors come first
        model.train_function = None
        model.make_train_function = self._make_train_function
        self._fit_begins = True

    def on_train_begin(self, logs=None):
        super().on_train_begin(logs)
        pipeline = self.pipeline
        largest = pipeline.num_examples if pipeline.is_scheduled else self.pipeline.batch_size
        check_micro_batch_size(self._wanted, largest // self._replicas())
        check_no_accumulation(self.model.optimizer, "MicroBatches")
        if self.micro_batch_size is not None:
            check_losses(self.model, pipeline, "micro-batches")

    def on_train_end(self, logs=None):
        self._leave()

    # What takes the place of the model's `make_train_function` and `train_function`.

    def _make_train_function(self, force: bool = False):
        model = self.model
        if not (self._fit_begins or force):
            call, arguments = running_call(model)
            if call == "fit" and self in callbacks_of(arguments):  # a callback's `train_on_batch`
                return model.train_function
            self._leave()  # a `fit` without this callback, after one that failed
            return model.make_train_function()
        if self._fit_begins:
            self._given = None
        self._fit_begins = False
        self._function = self._function_key = self._own = None
        model.train_function = self._train
        return model.train_function

    def _leave(self):
        vars(self.model).pop("make_train_function", None)
        self.model.train_function = None
        self._given = self._iterator = self._function = self._own = None

    def _train(self, iterator):
        """The next steps of the epoch, repeated in smaller pieces until they fit into memory."""
        if inspect.isgenerator(iterator):  # the one batch of `train_on_batch` is not the epoch's
            self._own = self._own or train_function(self.model, self.model.train_step)
            return self._own(iterator)
        if iterator is not self._given:  # a new pass over the data
            self._given = self._iterator = iterator
            self._pass = self.pipeline.position
            self._done = 0
            if self._progress is not None:
                self._progress.reset()
        first, last = self._done, self._done + self.model.steps_per_execution
        before = self.micro_batch_size
        while (logs := self._attempt()) is None:
            # Here, where the error and what it refers to are gone.
            self._iterator = self._batches(self._done, last if self._done > first else None)
        if self._done > first:
            self._iterator = self._batches(last)
        self._done = last
        if self.micro_batch_size != before:
            print(
                f"out of memory: batch size {self.pipeline.batch_size} on "
                f"{self._replicas()} replica{'s' * (self._replicas() > 1)} goes on with "
                f"micro_batch_size {self.micro_batch_size}",
                flush=True,
            )
        return logs

    def _attempt(self):
        """The logs of the next steps, or None where memory ran out and the pieces are smaller."""
        try:
            return self._current_function()(self._iterator)
        except tf.errors.ResourceExhaustedError as error:
            self._halve(error)
        return None

    def _current_function(self):
        """Keras' train function with our step, for the present batch size.

        Pieces need static shapes, and Keras' functions give them up for a second batch size.
        """
        size = self._replica_batch_size()
        divided = self.micro_batch_size is not None and self.micro_batch_size < size
        key = size if divided else None
        if self._function is None or self._function_key != key:
            step = micro_batch_train_step(
                self.model, self.micro_batch_size if divided else None, self._progress
            )
            if divided and self.pipeline.shuffle:  # all its batches have the same size
                step = _of_known_size(step, size)
            self._function, self._function_key = train_function(self.model, step), key
        return self._function

    def _halve(self, error) -> None:
        if self.micro_batch_size is None:
            check_losses(self.model, self.pipeline, "micro-batches, as memory runs out")
        size = self._replica_batch_size()
        size = min(self.micro_batch_size or size, size)
        if size == 1:
            raise UserError(
                "micro_batch_size: even one example a replica does not fit into memory; expected "
                "a smaller model, smaller examples or more memory, received out of memory at "
                f"batch size {self.pipeline.batch_size}"
            ) from error
        if self._progress is not None:
            done = self._progress.steps_done(self._done, atomic=bool(self.model.jit_compile))
            if done is None:
                raise UserError(
                    "memory ran out in the middle of an update, which leaves half of the weights "
                    "changed: run again from the last checkpoint, with a smaller model or more "
                    "memory"
                ) from error
        self.micro_batch_size = size // 2
        if self.file is not None:
            self.file.parent.mkdir(parents=True, exist_ok=True)
            write_json(self.file, {"micro_batch_size": self.micro_batch_size})
        if self._progress is None:
            kept = f"{self.file} keeps" if self.file else "expected"
            raise UserError(
                f"out of memory at batch size {self.pipeline.batch_size}, and workers cannot "
                f"repeat a step: {kept} micro_batch_size {self.micro_batch_size}; run the same "
                f"command again on every worker{'' if self.file else ' with it'}"
            ) from error
        self._progress.reset(done)
        self._done = done
        self._function = None

    def _batches(self, first: int, last: int | None = None):
        """The running pass from its step `first` to the one before `last`, on the replicas."""
        epoch, start = self._pass
        if start + first >= self.pipeline.steps_per_epoch:
            return self._iterator  # the pass is over
        batches = self.pipeline.dataset(epoch, start + first)
        if last is not None:
            batches = batches.take(last - first)
        return iter(self._strategy.experimental_distribute_dataset(batches))

    def _replicas(self) -> int:
        return self._strategy.num_replicas_in_sync

    def _replica_batch_size(self) -> int:
        return self.pipeline.batch_size // self._replicas()

    def _several_workers(self) -> bool:
        return isinstance(self._strategy, tf.distribute.MultiWorkerMirroredStrategy)


def _of_known_size(step, size: int):
    """The step, told the batch size that tf.distribute's iterators forget."""

    def known(tensor):
        if tensor is None or tensor.shape.rank == 0 or tensor.shape[0] is not None:
            return tensor
        return tf.ensure_shape(tensor, [size, *tensor.shape[1:]])

    return lambda data: step(tf.nest.map_structure(known, data))


def _stored(file: Path | None) -> int | None:
    if file is None or not file.exists():
        return None
    try:
        size = read_json_object(file)["micro_batch_size"]
        check_micro_batch_size(size)
    except (UserError, KeyError, TypeError):
        raise UserError(
            f'file: expected JSON {{"micro_batch_size": n}} in {file}, received other content; '
            "delete it"
        ) from None
    return size
