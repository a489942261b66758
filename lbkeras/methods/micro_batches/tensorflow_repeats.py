"""Repeats a step that runs out of memory in smaller micro-batches, on TensorFlow."""

import inspect

import tensorflow as tf

from lbkeras.callbacks.losses_of_pairs import check_losses
from lbkeras.errors import UserError
from lbkeras.keras_internals.model import train_function
from lbkeras.keras_internals.running_call import callbacks_of, running_call
from lbkeras.methods.micro_batches.train_step import micro_batch_train_step
from lbkeras.methods.micro_batches.update_progress import UpdateProgress


class Repeats:
    """The TensorFlow part of `MicroBatches`: makes the model's train function for one `fit`.

    Args:
        callback: the `MicroBatches` callback.
        model: the model whose `fit` begins.
    """

    def __init__(self, callback, model):
        self._callback, self.model, self.pipeline = callback, model, callback.pipeline
        self._strategy = model.distribute_strategy
        self._progress = None if self._several_workers() else UpdateProgress(self._strategy)
        micro_batch_train_step(model, callback.micro_batch_size)  # raises errors early
        model.train_function = None
        model.make_train_function = self._make_train_function
        self._fit_begins = True

    def end(self) -> None:
        """Restores the model's own train function."""
        self._leave()

    def begin_step(self) -> None:
        """Does nothing; called before each step."""

    def replicas(self) -> int:
        return self._strategy.num_replicas_in_sync

    # These replace the model's `make_train_function` and `train_function`.

    def _make_train_function(self, force: bool = False):
        model = self.model
        if not (self._fit_begins or force):
            call, arguments = running_call(model)
            if call == "fit" and self._callback in callbacks_of(
                arguments
            ):  # a callback's `train_on_batch`
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
        """Runs the next steps of the epoch, in smaller micro-batches if they do not fit."""
        if inspect.isgenerator(iterator):  # `train_on_batch`, outside the epoch
            self._own = self._own or train_function(self.model, self.model.train_step)
            return self._own(iterator)
        if iterator is not self._given:  # a new pass over the data
            self._given = self._iterator = iterator
            self._pass = self.pipeline.position
            self._done = 0
            if self._progress is not None:
                self._progress.reset()
        first, last = self._done, self._done + self.model.steps_per_execution
        before = self._callback.micro_batch_size
        while (logs := self._attempt()) is None:
            # Not inside `_attempt`: here the error and what it references are freed.
            self._iterator = self._batches(self._done, last if self._done > first else None)
        if self._done > first:
            self._iterator = self._batches(last)
        self._done = last
        if self._callback.micro_batch_size != before:
            print(
                f"out of memory: batch size {self.pipeline.batch_size} on "
                f"{self.replicas()} replica{'s' * (self.replicas() > 1)} continues with "
                f"micro_batch_size {self._callback.micro_batch_size}",
                flush=True,
            )
        return logs

    def _attempt(self):
        """Returns the logs of the next steps; if memory runs out, halves the size, returns None."""
        try:
            return self._current_function()(self._iterator)
        except tf.errors.ResourceExhaustedError as error:
            self._halve(error)
        return None

    def _current_function(self):
        """Returns Keras' train function with our step, for the current batch size.

        Micro-batches need static shapes, which Keras' train functions drop when a second batch size
        comes.
        """
        size = self._replica_batch_size()
        divided = (
            self._callback.micro_batch_size is not None and self._callback.micro_batch_size < size
        )
        key = size if divided else None
        if self._function is None or self._function_key != key:
            step = micro_batch_train_step(
                self.model, self._callback.micro_batch_size if divided else None, self._progress
            )
            if divided and self.pipeline.shuffle:  # all batches have the same size
                step = _of_known_size(step, size)
            self._function, self._function_key = train_function(self.model, step), key
        return self._function

    def _halve(self, error) -> None:
        if self._callback.micro_batch_size is None:
            check_losses(self.model, self.pipeline, "micro-batches, as memory runs out")
        size = self._replica_batch_size()
        size = min(self._callback.micro_batch_size or size, size)
        if size == 1:
            raise UserError(
                "micro_batch_size: even one example per replica does not fit into memory; expected "
                "a smaller model, smaller examples or more memory, received out of memory at "
                f"batch size {self.pipeline.batch_size}"
            ) from error
        if self._progress is not None:
            done = self._progress.steps_done(self._done, atomic=bool(self.model.jit_compile))
            if done is None:
                raise UserError(
                    "memory ran out in the middle of an update, so only some of the weights are "
                    "changed: run again from the last checkpoint, with a smaller model or more "
                    "memory"
                ) from error
        self._callback.micro_batch_size = size // 2
        self._callback.keep_size()
        if self._progress is None:
            file = self._callback.file
            kept = f"{file} keeps" if file else "expected"
            raise UserError(
                f"out of memory at batch size {self.pipeline.batch_size}, and workers cannot "
                f"repeat a step: {kept} micro_batch_size {self._callback.micro_batch_size}; run "
                f"the same command again on every worker{'' if file else ' with it'}"
            ) from error
        self._progress.reset(done)
        self._done = done
        self._function = None

    def _batches(self, first: int, last: int | None = None):
        """Returns the current pass over the data from step `first` up to, not including, `last`."""
        epoch, start = self._pass
        if start + first >= self.pipeline.steps_per_epoch:
            return self._iterator  # the pass is over
        batches = self.pipeline.dataset(epoch, start + first)
        if last is not None:
            batches = batches.take(last - first)
        return iter(self._strategy.experimental_distribute_dataset(batches))

    def _replica_batch_size(self) -> int:
        return self.pipeline.batch_size // self.replicas()

    def _several_workers(self) -> bool:
        return isinstance(self._strategy, tf.distribute.MultiWorkerMirroredStrategy)


def _of_known_size(step, size: int):
    """Sets the static batch size, which tf.distribute's iterators lose, in the step's data."""

    def known(tensor):
        if tensor is None or tensor.shape.rank == 0 or tensor.shape[0] is not None:
            return tensor
        return tf.ensure_shape(tensor, [size, *tensor.shape[1:]])

    return lambda data: step(tf.nest.map_structure(known, data))
