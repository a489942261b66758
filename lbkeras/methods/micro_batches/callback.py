"""Trains with batches larger than a device's memory by computing them in micro-batches."""

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
    """Computes each replica's batch in micro-batches, and in smaller ones when memory runs out.

    `batch_size` does not change: the gradients of the micro-batches add up to one update, as
    described in `lbkeras.trainers.micro_batch_train_step`. `optimizer.iterations`, schedules and
    callbacks count global batches. A step that fails with RESOURCE_EXHAUSTED is repeated on the
    same data with the micro-batch size halved until it fits, and one line is printed. No example is
    lost or applied twice. It works with any `steps_per_execution`, `jit_compile`, strategy and
    batch-size schedule, at any position in the list of callbacks.

    Cost: one trace of the model for each batch size that is divided (all undivided ones share a
    trace). A step of two micro-batches takes about as long as an undivided one. A failed attempt
    takes about 10 s, while TensorFlow waits for memory; `lbkeras plan --probe` finds the size in
    advance.

    With several workers a failed step cannot be repeated, since the other workers wait for its
    gradients: the size is stored in `file`, and the run ends with an error that asks to start it
    again.

    On Keras' JAX backend a failed step cannot be repeated either, since it has donated the memory
    of its weights. There the size is chosen before the first update at each new batch size: from
    the memory that the compiled step needs and the device has, or by a trial on zeros if the device
    does not report its memory. If the size is reduced, a line is printed. If memory runs out
    nevertheless, the run ends with a one-line error, and half the size is stored in `file`. With
    `keras.distribution.DataParallel` each device counts as a replica.

    Args:
        pipeline: the `lbkeras.data.Pipeline` that is passed to `fit` as `x`.
        micro_batch_size: examples per replica in a micro-batch, from 1 to the largest replica batch
            size; smaller batches are not divided. None: undivided until memory runs out.
        file: path of a JSON file `{"micro_batch_size": n}` that keeps a size that was reduced for
            lack of memory; a later run starts with it. None: the size is not stored.

    Attributes:
        micro_batch_size: the size in use, or None.

    Raises:
        UserError: as for `micro_batch_train_step`; `micro_batch_size` exceeds the replica's batch;
            `file` has other content. In `fit`: the loss is over pairs of examples of the batch,
            such as Keras' `Circle`; one example does not fit into memory; memory runs out in the
            middle of an update, with several workers, or on JAX after the size was chosen.

    >>> import keras
    >>> import numpy as np
    >>> from lbkeras.data import Pipeline
    >>> train = Pipeline((np.zeros((64, 4)), np.zeros(64)), batch_size=32)
    >>> model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(1)])
    >>> model.compile("sgd", "mse")
    >>> history = model.fit(train, verbose=0, callbacks=[MicroBatches(train, 8)])
    >>> int(model.optimizer.iterations)
    2

    Reference: Hoffer, Hubara, Soudry, arXiv:1705.08741, section 4, for batch normalization over
    parts of a batch.
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
        """Writes the size to `file`, if there is one."""
        if self.file is not None:
            self.file.parent.mkdir(parents=True, exist_ok=True)
            write_json(self.file, {"micro_batch_size": self.micro_batch_size})


def _division(callback: MicroBatches, model):
    """Returns the object that divides the batches of one `fit` on the current backend."""
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
