"""A train step that computes its batch in pieces and updates once."""

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
    """A train step in pieces of `micro_batch_size` examples whose gradients add up to one update.

    The memory of a step is that of one piece and one copy of the gradients. With g_i the gradient
    of an example, B the replica's batch and M its pieces, the update is that of

        1/B · sum over i in B of g_i = sum over M of |M|/B · (1/|M| · sum over i in M of g_i)

    and equals the undivided batch's, for every loss reduction of Keras, sample weights, masks,
    regularizers, losses that layers add (taken as means over the batch) and a smaller last piece;
    so do the metrics. Layers that look at the whole batch see a piece: with batch normalization
    each piece has its own statistics, which is ghost batch normalization with the micro-batch as
    ghost, and the moving statistics take a step a piece; dropout draws anew for each piece. A
    metric function that gives one number a batch is averaged over the pieces.

    A step changes variables only after all its gradients are there: one that runs out of memory
    in its forward or backward pass has changed nothing of the model's.

    Args:
        model: a compiled functional, sequential or subclassed model with Keras' own train step,
            built or not.
        micro_batch_size: examples of a replica in one piece, at least 1; the last may be smaller.
            None, or no less than the replica's batch: one piece.
        progress: counts steps and updates, for a caller who repeats a step that failed
            (TensorFlow).

    Returns:
        What `model.train_step` is: on TensorFlow a function from a replica's batch, `(x, y)` or
        `(x, y, sample_weight)`, to the logs, whose pieces need batches of one known size; on JAX a
        pure function `(state, data) -> (logs, state)` of a built model.

    Raises:
        UserError: a size that is no integer of at least 1; a model with a train step or loss
            computation of its own; in the first step, a loss that does not say how pieces add up,
            batches of unknown size.

    Reference: Hoffer, Hubara and Soudry 2017, arXiv:1705.08741, Section 4, for batch normalization
    over parts of a batch.

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
        micro_batch_size: examples of a replica in one piece, or None.
        replica_batch_size: the largest batch of a replica in the run, where it is known.

    Raises:
        UserError: a size that is none of these.
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
    """Checks that a model trains as Keras does, which this train step repeats.

    Args:
        key: what needs it, for the message.
        model: any model.
        backends: on which `key` works; none: "tensorflow".

    Raises:
        UserError: a train step or loss computation of its own, or another backend.
    """
    check_backend(key, *backends)
    for name in _OF_KERAS:
        if getattr(type(model), name) is not getattr(keras.Model, name):
            raise UserError(
                f"{key}: expected a model with Keras' own train step, received "
                f"{type(model).__name__}, which defines {name}()"
            )
