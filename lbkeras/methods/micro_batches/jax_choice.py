"""On JAX the micro-batch is chosen before the first update at each new batch size."""

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
    """The part of `MicroBatches` on JAX: it stands in for the model's train step in one `fit`.

    A step that fails for want of memory may have given its state away: it cannot be repeated. So
    the step is looked at when it is traced, by whoever compiles it and however many steps are put
    into one function. Where all that its operations give, taken twice, fits into memory (which the
    trace says), nothing more is asked. Otherwise it is compiled, and the compiler's count is
    compared with what is free; a backend that does not count makes a trial on zeros.

    Args:
        callback: the `MicroBatches`.
        model: the model of the `fit` that begins.
    """

    def __init__(self, callback, model):
        self._callback, self._model = callback, model
        activity_losses_are_sums()  # which cannot be found out inside a trace
        self._chosen = {}  # shapes of a batch -> its micro-batch size
        give_back(model, _STEP)  # of a `fit` that broke off
        vars(model)["train_step"] = self._run
        model.train_function = None
        attributes = vars(model)

        def put_back():
            attributes.pop("train_step", None)
            return True

        borrow(model, _STEP, put_back)

    def end(self) -> None:
        """Gives the model its own train step again."""
        give_back(self._model, _STEP)
        self._model.train_function = None

    def begin_step(self) -> None:
        """Before each step: has the train function say in one line that memory ran out.

        What was chosen for this batch size while an earlier one trained holds from now on.
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

    # While a step is traced.

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
        """The step in pieces of `wanted` of the `size` examples; undivided it is Keras' own."""
        if wanted < size:
            return TrainStep(self._model, wanted)
        return functools.partial(type(self._model).train_step, self._model)

    def _divide(self, fitting: int, size: int) -> None:
        callback = self._callback
        if callback.micro_batch_size is None:
            with jax.ensure_compile_time_eval():  # a step may be being traced
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
        """The step with the largest micro-batch, at most `start`, that fits, and this size."""
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

    # When memory runs out all the same.

    def failed(self, state, error) -> UserError:
        """The error of a step that ran out of memory."""
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
            f"be repeated{', since it has given the weights away' * lost}: {kept} micro_batch_size "
            f"{callback.micro_batch_size}; {again}"
        )


class _OneLine:
    """A train function whose failure for want of memory is one line."""

    def __init__(self, function, choice: Choice):
        self.__wrapped__, self._choice = function, choice
        self._sizes = set()  # at which a step has been waited for

    def __call__(self, state, iterator):
        size = self._choice._callback.pipeline.batch_size
        try:
            result = self.__wrapped__(state, iterator)
            if size not in self._sizes:  # else an error comes when somebody looks at the result
                jax.block_until_ready(result)
                self._sizes.add(size)
        except jax.errors.JaxRuntimeError as error:
            if not jax_memory.is_out_of_memory(error):
                raise
            raise self._choice.failed(state, error) from error
        return result


def _next_smaller(piece: int, size: int, ratio: float) -> int:
    """The next micro-batch to try, of those that divide the batch where one is near.

    >>> [_next_smaller(96, 96, ratio) for ratio in (0.9, 0.4, 0.001)]
    [48, 32, 1]

    Args:
        piece: what does not fit.
        size: examples in the batch.
        ratio: of what is free to what is needed.
    """
    pieces = math.ceil(size / max(min(piece * ratio, piece - 1), 1))
    most = -(-size // pieces)
    divisors = [each for each in range(most, most // 2, -1) if size % each == 0]
    return min(divisors[0] if divisors else most, piece - 1)


def _even_one(pipeline) -> UserError:
    return UserError(
        "micro_batch_size: even one example a replica does not fit into memory; expected a "
        "smaller model, smaller examples or more memory, received out of memory at batch size "
        f"{pipeline.batch_size}"
    )
