"""Chooses the micro-batch size on JAX, before the first update at each new batch size."""

import functools
import math

import jax

from lbkeras.callbacks.losses_of_pairs import check_losses
from lbkeras.errors import UserError
from lbkeras.keras_internals.backend import count_devices
from lbkeras.keras_internals.borrowed import borrow, give_back
from lbkeras.keras_internals.jax_state import forget_lost_state
from lbkeras.keras_internals.model import activity_losses_are_sums
from lbkeras.methods.micro_batches import jax_memory
from lbkeras.methods.micro_batches.jax_pieces import described, examples_of
from lbkeras.methods.micro_batches.jax_step import TrainStep

_STEP = "train step in micro-batches"


class Choice:
    """The JAX part of `MicroBatches`: replaces the model's train step during one `fit`.

    A step that runs out of memory may have donated its state, so it cannot be repeated. The size
    is therefore chosen when the step is traced, which works whoever compiles the step and however
    many steps one function has. If twice the size of all results of the step's operations (known
    from the trace) fits into memory, the size is accepted. Otherwise the step is compiled, and the
    memory that the compiler reports is compared with what is free; if either is unknown, the
    compiled step is tried on zeros.

    Args:
        callback: the `MicroBatches` callback.
        model: the model whose `fit` begins.
    """

    def __init__(self, callback, model):
        self._callback, self._model = callback, model
        activity_losses_are_sums()  # cannot be determined inside a trace
        self._chosen = {}  # shapes of a batch -> micro-batch size
        give_back(model, _STEP)  # left by a `fit` that was interrupted
        vars(model)["train_step"] = self._run
        model.train_function = None
        attributes = vars(model)

        def put_back():
            attributes.pop("train_step", None)
            return True

        borrow(model, _STEP, put_back)

    def end(self) -> None:
        """Restores the model's own train step."""
        give_back(self._model, _STEP)
        self._model.train_function = None

    def begin_step(self) -> None:
        """Wraps the train function, before each step, so that running out of memory is one line.

        If a size was chosen for this batch size while an earlier one was in training, it applies
        from now on.
        """
        batch_size = self._callback.pipeline.batch_size
        for shapes, fitting in self._chosen.items():
            size = batch_size // self.replicas()
            present = self._callback.micro_batch_size
            if shapes[0][0] == batch_size and fitting < (
                size if present is None else min(present, size)
            ):
                self._divide(fitting, size)
        function = self._model.train_function
        if not isinstance(function, _OneLine):
            self._model.train_function = _OneLine(function, self)

    def replicas(self) -> int:
        return count_devices()

    # Called while a step is traced.

    def _run(self, state, data):
        shapes = tuple(part.shape for part in jax.tree.leaves(data))
        size = examples_of(data) // self.replicas()
        if shapes not in self._chosen:
            present = self._callback.micro_batch_size
            start = size if present is None else min(present, size)
            function, fitting = None, start
            if self._model.jit_compile and not self._model.run_eagerly:
                function, fitting = self._largest(state, data, start, size)
                if fitting < start and shapes[0][0] == self._callback.pipeline.batch_size:
                    self._divide(fitting, size)
            self._chosen[shapes] = fitting
            if function is not None:
                return function(state, data)
        return self._of_size(self._chosen[shapes], size)(state, data)

    def _of_size(self, wanted: int, size: int):
        """Returns a step in micro-batches of `wanted` of `size` examples; undivided, Keras' own."""
        if wanted < size:
            return TrainStep(self._model, wanted)
        return functools.partial(type(self._model).train_step, self._model)

    def _divide(self, fitting: int, size: int) -> None:
        callback = self._callback
        if callback.micro_batch_size is None:
            with jax.ensure_compile_time_eval():  # a step may be under trace
                check_losses(self._model, callback.pipeline, "micro-batches, as memory runs out")
        callback.micro_batch_size = fitting
        callback.keep_size()
        devices = self.replicas()
        print(
            f"memory: batch size {size * devices} on {devices} device{'s' * (devices > 1)} is "
            f"computed with micro_batch_size {fitting}",
            flush=True,
        )

    def _largest(self, state, data, start: int, size: int) -> tuple:
        """Returns the step with the largest micro-batch up to `start` that fits, and its size."""
        free, wanted, arguments = jax_memory.free_bytes(), start, described(state, data)
        while True:
            function = jax.jit(self._of_size(wanted, size), donate_argnums=0)
            traced = function.trace(*arguments)
            if free is not None and 2 * jax_memory.most_bytes(traced.jaxpr) <= free:
                return function, wanted
            compiled = traced.lower().compile()
            needed = jax_memory.bytes_needed(compiled)
            if free is None or needed is None:
                fits, ratio = jax_memory.fits_by_trial(compiled, arguments), 0.5
            else:
                fits, ratio = needed <= free, max(free, 0) / max(needed, 1)
            if fits:
                return function, wanted
            if wanted == 1:
                raise _even_one(self._callback.pipeline)
            wanted = _next_smaller(wanted, size, ratio)

    # Called when memory runs out nevertheless.

    def failed(self, state, error) -> UserError:
        """Returns the error for a step that ran out of memory."""
        callback = self._callback
        size = callback.pipeline.batch_size // self.replicas()
        size = min(callback.micro_batch_size or size, size)
        lost = forget_lost_state(self._model, state)
        if size == 1:
            return _even_one(callback.pipeline)
        callback.micro_batch_size = max(size // 2, 1)
        callback.keep_size()
        kept = f"{callback.file} keeps" if callback.file else "expected"
        again = "run again from the last checkpoint" + ("" if callback.file else " with it")
        return UserError(
            f"out of memory at batch size {callback.pipeline.batch_size}, and on JAX a step cannot "
            f"be repeated{', since it has donated the weights' * lost}: {kept} micro_batch_size "
            f"{callback.micro_batch_size}; {again}"
        )


class _OneLine:
    """Wraps a train function: when memory runs out, it raises a one-line error."""

    def __init__(self, function, choice: Choice):
        self.__wrapped__, self._choice = function, choice
        self._sizes = set()  # batch sizes at which a step was awaited

    def __call__(self, state, iterator):
        size = self._choice._callback.pipeline.batch_size
        try:
            result = self.__wrapped__(state, iterator)
            if size not in self._sizes:  # else errors appear when a result is read
                jax.block_until_ready(result)
                self._sizes.add(size)
        except jax.errors.JaxRuntimeError as error:
            if not jax_memory.is_out_of_memory(error):
                raise
            raise self._choice.failed(state, error) from error
        return result


def _next_smaller(piece: int, size: int, ratio: float) -> int:
    """Returns the next micro-batch size to try; if one is near, a divisor of the batch size.

    >>> [_next_smaller(96, 96, ratio) for ratio in (0.9, 0.4, 0.001)]
    [48, 32, 1]

    Args:
        piece: micro-batch size that does not fit.
        size: examples in the batch.
        ratio: free memory divided by needed memory.
    """
    pieces = math.ceil(size / max(min(piece * ratio, piece - 1), 1))
    most = -(-size // pieces)
    divisors = [each for each in range(most, most // 2, -1) if size % each == 0]
    return min(divisors[0] if divisors else most, piece - 1)


def _even_one(pipeline) -> UserError:
    return UserError(
        "micro_batch_size: even one example per replica does not fit into memory; expected a "
        "smaller model, smaller examples or more memory, received out of memory at batch size "
        f"{pipeline.batch_size}"
    )
