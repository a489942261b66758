"""Batches larger than a device's memory, in micro-batches; smaller ones when memory runs out."""

from pathlib import Path
from typing import TYPE_CHECKING

from lbkeras import checks
from lbkeras.callbacks.losses_of_pairs import check_losses
from lbkeras.callbacks.optimizer_settings import check_no_accumulation
from lbkeras.callbacks.pipeline_callback import PipelineCallback
from lbkeras.errors import UserError
from lbkeras.files import read_json_object, write_json
from lbkeras.keras_internals.backend import on_jax
from lbkeras.methods.micro_batches.train_step import check_micro_batch_size, check_model

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

    On Keras' JAX backend a failed step has given its weights away. There the size is chosen before
    the first update at each new batch size, from the memory that the compiled step needs and the
    device has; where the device does not say it, by a trial on copies. A line says so. Memory that
    runs out all the same ends the run in one line, with half the size in `file`. Under
    `keras.distribution.DataParallel` a device counts as a replica.

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
            update, with several workers, or on JAX after the choice.

    >>> import keras
    >>> import numpy as np
    >>> from lbkeras.data import Pipeline
    >>> train = Pipeline((np.zeros((64, 4)), np.zeros(64)), batch_size=32)
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

    def set_model(self, model):
        super().set_model(model)
        check_model("micro_batch_size", model, "tensorflow", "jax")
        self._division = _division(self, model)

    def on_train_begin(self, logs=None):
        super().on_train_begin(logs)
        pipeline = self.pipeline
        largest = pipeline.num_examples if pipeline.is_scheduled else self.pipeline.batch_size
        check_micro_batch_size(self._wanted, largest // self._division.replicas())
        check_no_accumulation(self.model.optimizer, "MicroBatches")
        if self.micro_batch_size is not None:
            check_losses(self.model, pipeline, "micro-batches")

    def on_train_batch_begin(self, batch, logs=None):
        self._division.begin_step()

    def on_train_end(self, logs=None):
        self._division.end()

    def keep_size(self) -> None:
        """Writes the size into `file`, if there is one."""
        if self.file is not None:
            self.file.parent.mkdir(parents=True, exist_ok=True)
            write_json(self.file, {"micro_batch_size": self.micro_batch_size})


def _division(callback: MicroBatches, model):
    """What divides the batches of one `fit` on the backend that runs."""
    if on_jax():
        from lbkeras.methods.micro_batches.jax_choice import Choice

        return Choice(callback, model)
    from lbkeras.methods.micro_batches.tensorflow_repeats import Repeats

    return Repeats(callback, model)


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
