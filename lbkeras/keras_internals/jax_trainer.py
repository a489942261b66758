"""The train step that Keras' JAX trainer compiles, to compile it before it is needed.

JAX keeps what it has compiled by the function and the shapes of its arguments: a call with the same
shapes finds it, whoever compiled it.
"""

import concurrent.futures
import contextlib
import functools
import inspect

from lbkeras.errors import UserError
from lbkeras.keras_internals.names import private, private_module


def compile_ahead(model, batch) -> concurrent.futures.Future | None:
    """Compiles a model's train step for a batch of another size, beside what the device computes.

    Tracing, which is quick, happens now: Keras' state during a trace is not for several threads.
    Between the steps of an epoch the variables have no values, so call this when an epoch begins.

    Args:
        model: compiled and built, with a train function.
        batch: a structure of `jax.ShapeDtypeStruct`, as `fit` gets it.

    Returns:
        The compilation; None where the train function is not one of Keras' own that is jitted, or
        cannot be traced.

    Raises:
        UserError: what tracing the step raises of them.
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
    except Exception:  # the step itself raises it again, when it comes
        return None
    return _one_thread().submit(_compile, lowered)


def _jitted(train_function):
    """The jitted step inside of the train function that Keras makes, or None."""
    train_function = inspect.unwrap(train_function)  # what MicroBatches puts around it
    if not inspect.isfunction(train_function):
        return None
    step = inspect.getclosurevars(train_function).nonlocals.get("step_function")
    return step if hasattr(step, "lower") else None


def _compile(lowered) -> None:
    with contextlib.suppress(Exception):  # the step itself raises it again
        lowered.compile()


@functools.cache
def _one_thread() -> concurrent.futures.ThreadPoolExecutor:
    """One at a time: side by side each takes longer than all in turn (measured on a GPU)."""
    return concurrent.futures.ThreadPoolExecutor(1)


def let_pipelines_place_their_batches() -> None:
    """Under a distribution Keras divides each batch as it divides the first one; ours come divided.

    A last batch that the devices do not divide would be an error.
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
