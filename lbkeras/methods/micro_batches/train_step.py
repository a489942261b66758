"""A train step that computes its batch in micro-batches and makes one update."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import keras

from lbkeras.errors import UserError
from lbkeras.keras_internals.backend import check_backend, on_jax

if TYPE_CHECKING:
    from lbkeras.methods.micro_batches.update_progress import UpdateProgress

_OF_KERAS = ("train_step", "compute_loss", "make_train_function")


def micro_batch_train_step(
    model: keras.Model, micro_batch_size: int | None, progress: "UpdateProgress | None" = None
) -> Callable[..., Any]:
    """Returns a train step in micro-batches whose gradients add up to one update.

    A step needs the memory of one micro-batch and of one copy of the gradients. With g_i the
    gradient of an example, B the replica's batch and M its micro-batches, the update uses

        1/B · sum over i in B of g_i = sum over M of |M|/B · (1/|M| · sum over i in M of g_i)

    and equals that of the undivided batch for every loss reduction of Keras, sample weights, masks,
    regularizers, losses that layers add (taken as means over the batch) and a smaller last
    micro-batch; so do the metrics. Layers that look at the whole batch see one micro-batch. Batch
    normalization normalizes each micro-batch by itself, which is ghost batch normalization with the
    micro-batch as ghost batch, and updates its moving statistics once per micro-batch. Dropout
    draws a new mask for each micro-batch. A metric function that returns one number per batch is
    averaged over the micro-batches.

    A step changes variables only after all its gradients are computed. If it runs out of memory in
    the forward or backward pass, the model is unchanged.

    Args:
        model: a compiled functional, sequential or subclassed model with Keras' own train step,
            built or not.
        micro_batch_size: examples per replica in a micro-batch, at least 1; the last one may be
            smaller. None, or at least the replica's batch size: undivided.
        progress: an `UpdateProgress` that counts steps and updates, for a caller that repeats
            failed steps (TensorFlow only).

    Returns:
        A replacement for `model.train_step`. On TensorFlow: a function from a replica's batch,
        `(x, y)` or `(x, y, sample_weight)`, to the logs; to be divided, batches must have a static
        size. On JAX: a pure function `(state, data) -> (logs, state)` for a built model.

    Raises:
        UserError: the size is not an integer of at least 1; the model has a train step or loss
            computation of its own. In the first step: it is unknown how the loss of micro-batches
            adds up, or batches have no static size.

    Reference: Hoffer, Hubara, Soudry, arXiv:1705.08741, section 4, for batch normalization over
    parts of a batch.

    >>> x, y = keras.ops.reshape(keras.ops.arange(12.0), (6, 2)), keras.ops.ones((6, 1))
    >>> model = keras.Sequential([keras.layers.Dense(1, kernel_initializer="zeros")])
    >>> model.compile("sgd", "mse")
    >>> logs = micro_batch_train_step(model, micro_batch_size=4)((x, y))
    >>> float(logs["loss"]), round(float(model.layers[0].bias[0]), 6)
    (1.0, 0.02)
    """
    check_micro_batch_size(micro_batch_size)
    check_model("micro_batch_size", model, "tensorflow", "jax")
    if on_jax():
        from lbkeras.methods.micro_batches.jax_step import TrainStep

        return TrainStep(model, micro_batch_size)
    from lbkeras.methods.micro_batches import tensorflow_step

    return tensorflow_step.TrainStep(model, micro_batch_size, progress)


def check_micro_batch_size(
    micro_batch_size: int | None, replica_batch_size: int | None = None
) -> None:
    """Checks a micro-batch size: an integer from 1 to the largest replica batch, or None.

    Args:
        micro_batch_size: examples per replica in a micro-batch, or None.
        replica_batch_size: the largest replica batch size in the run, if known.

    Raises:
        UserError: the size is none of these.
    """
    if micro_batch_size is None:
        return
    if isinstance(micro_batch_size, bool) or not isinstance(micro_batch_size, int):
        raise UserError(f"micro_batch_size: expected an integer, received {micro_batch_size!r}")
    if micro_batch_size < 1:
        raise UserError(f"micro_batch_size: expected at least 1, received {micro_batch_size}")
    if replica_batch_size is not None and micro_batch_size > replica_batch_size:
        raise UserError(
            f"micro_batch_size: expected at most {replica_batch_size} (the largest batch of a "
            f"replica), received {micro_batch_size}"
        )


def check_model(key: str, model: keras.Model, *backends: str) -> None:
    """Checks that a model uses Keras' own train step, which this one reproduces.

    Args:
        key: name of the setting that needs it, for the message.
        model: any model.
        backends: the backends on which `key` works; none: "tensorflow".

    Raises:
        UserError: the model has a train step or loss computation of its own, or the backend is
            another one.
    """
    check_backend(key, *backends)
    for name in _OF_KERAS:
        if getattr(type(model), name) is not getattr(keras.Model, name):
            raise UserError(
                f"{key}: expected a model with Keras' own train step, received "
                f"{type(model).__name__}, which defines {name}()"
            )
