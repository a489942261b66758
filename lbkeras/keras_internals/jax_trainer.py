"""Compiles the train step of Keras' JAX trainer before it is needed.

JAX caches compiled programs by function and argument shapes, so a later call with the same shapes
finds a program that was compiled here.
"""

import concurrent.futures
import contextlib
import functools
import inspect

from lbkeras.errors import UserError
from lbkeras.keras_internals.names import private, private_module


def compile_ahead(model, batch) -> concurrent.futures.Future | None:
    """Compiles a model's train step for another batch size in the background.

    The step is traced at once, which is quick, because Keras' tracing state is not thread-safe.
    Call this when an epoch begins: between the steps of an epoch the variables have no values.

    Args:
        model: compiled and built, with a train function.
        batch: a structure of `jax.ShapeDtypeStruct` with the shapes and types of a batch.

    Returns:
        The compilation; None if the train function is not a jitted one of Keras or cannot be
        traced.

    Raises:
        UserError: tracing the step raised a UserError.
    """
    step = _jitted(model.train_function)
    if step is None:
        return None
    state = private(model, "_get_jax_state")(
        trainable_variables=True,
        non_trainable_variables=True,
        optimizer_variables=True,
        metrics_variables=True,
    )
    try:
        lowered = step.lower(state, batch)
    except UserError:
        raise
    except Exception:  # the step itself will raise it again
        return None
    return _one_thread().submit(_compile, lowered)


def _jitted(train_function):
    """Returns the jitted step inside the train function that Keras makes, or None."""
    train_function = inspect.unwrap(train_function)  # MicroBatches wraps it
    if not inspect.isfunction(train_function):
        return None
    step = inspect.getclosurevars(train_function).nonlocals.get("step_function")
    return step if hasattr(step, "lower") else None


def _compile(lowered) -> None:
    with contextlib.suppress(Exception):  # the step itself will raise it again
        lowered.compile()


@functools.cache
def _one_thread() -> concurrent.futures.ThreadPoolExecutor:
    """Returns a pool of one thread: in parallel each compilation takes longer than all in turn.

    Measured on a GPU.
    """
    return concurrent.futures.ThreadPoolExecutor(1)


def let_pipelines_place_their_batches() -> None:
    """Makes Keras take the batches of a Pipeline as they are under a distribution.

    Keras divides every batch among the devices as it divides the first, which is an error for a
    last batch whose size the devices do not divide. A Pipeline's batches are divided already.
    """
    iterator = private(private_module("keras.src.backend.jax.trainer"), "JAXEpochIterator")
    get_iterator = private(iterator, "_get_distributed_iterator")
    if getattr(get_iterator, "leaves_pipelines_alone", False):
        return

    @functools.wraps(get_iterator)
    def get_ours_as_they_are(self, distribution):
        adapter = self.data_adapter
        if getattr(adapter, "places_its_batches", False):
            return adapter.get_jax_iterator()
        return get_iterator(self, distribution)

    get_ours_as_they_are.leaves_pipelines_alone = True
    iterator._get_distributed_iterator = get_ours_as_they_are
