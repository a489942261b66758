"""Compiles the train step of Keras' JAX trainer before it is needed.

JAX caches compiled programs by function and argument shapes, so a later call with the same shapes
finds a program that was compiled here.
"""

import concurrent.futures
import contextlib
import functools
import inspect

import jax
import keras

from lbkeras.errors import UserError
from lbkeras.keras_internals.data_adapter import takes_stacks
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
    steps = _jitted(model.train_function)
    if not steps:
        return None
    state = private(model, "_get_jax_state")(
        trainable_variables=True,
        non_trainable_variables=True,
        optimizer_variables=True,
        metrics_variables=True,
    )
    stack = jax.tree.map(functools.partial(_stacked, model.steps_per_execution), batch)
    try:
        lowered = [
            step.lower(state, stack if name == "multi_step_fn" else batch)
            for name, step in steps.items()
        ]
    except UserError:
        raise
    except Exception:  # the step itself will raise it again
        return None
    return _one_thread().submit(_compile, lowered)


def _jitted(train_function) -> dict:
    """Returns the jitted steps inside the train function that Keras makes, by Keras' names.

    Since Keras 3.16, `multi_step_fn` scans a stack of batches; `step_function` then takes those
    left over at the end of an epoch.
    """
    train_function = inspect.unwrap(train_function)  # MicroBatches wraps it
    if not inspect.isfunction(train_function):
        return {}
    inside = inspect.getclosurevars(train_function).nonlocals
    names = ("multi_step_fn", "step_function")
    return {name: inside[name] for name in names if hasattr(inside.get(name), "lower")}


def _stacked(steps: int, part):
    """Returns the shape and type of `steps` stacked parts of a batch."""
    return jax.ShapeDtypeStruct((steps, *part.shape), part.dtype)


def _compile(lowered) -> None:
    with contextlib.suppress(Exception):  # the step itself will raise it again
        for each in lowered:
            each.compile()


@functools.cache
def _one_thread() -> concurrent.futures.ThreadPoolExecutor:
    """Returns a pool of one thread: in parallel each compilation takes longer than all in turn.

    Measured on a GPU.
    """
    return concurrent.futures.ThreadPoolExecutor(1)


def let_pipelines_place_their_batches() -> None:
    """Makes Keras take the batches of a Pipeline as they are under a distribution.

    Keras divides every batch among the devices, which is an error for a last batch whose size the
    devices do not divide. A Pipeline's batches are divided already.
    """
    iterator = private(private_module("keras.src.backend.jax.trainer"), "JAXEpochIterator")
    get_iterator = private(iterator, "_get_iterator")
    if getattr(get_iterator, "leaves_pipelines_alone", False):
        return

    @functools.wraps(get_iterator)
    def get_ours_as_they_are(self):
        adapter = self.data_adapter
        if getattr(adapter, "places_its_batches", False) and keras.distribution.distribution():
            steps = self.steps_per_execution
            return adapter.get_jax_iterator(steps if steps > 1 and takes_stacks() else None)
        return get_iterator(self)

    get_ours_as_they_are.leaves_pipelines_alone = True
    iterator._get_iterator = get_ours_as_they_are
