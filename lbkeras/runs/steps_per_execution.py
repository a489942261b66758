"""Chooses how many updates to run in one call of the training graph."""

import math

import keras

from lbkeras.keras_internals.backend import on_jax
from lbkeras.keras_internals.data_adapter import takes_stacks
from lbkeras.keras_internals.model import layers

# One call costs the host about 1 ms; a call that computes this long hides it.
_SECONDS_A_CALL = 0.05
_OPERATIONS_A_SECOND = 30e9
_MOST = 50


def choose_steps_per_execution(model, plan) -> int:
    """Returns enough updates per call to make the host's cost of a call, about 1 ms, negligible.

    The number depends only on the multiplications of the model's kernels at the plan's smallest
    batch, so the same run always gets the same number. Small models get up to 50. Networks whose
    update takes 50 ms or more get 1, and keep progress bar, checkpoints and Ctrl-C at every update.
    So do networks that XLA computes badly inside a loop, which a call is on JAX since Keras 3.16.

    Args:
        model: a built Keras model.
        plan: the `Plan` by which it will be trained.
    """
    one_node = getattr(model, "one_node", model)  # of stacked nodes, an example passes through one
    if on_jax() and takes_stacks() and _is_slow_in_a_loop(one_node):
        return 1
    operations = 3 * 2 * _multiplications(one_node) * min(p.batch_size for p in plan.phases)
    calls = _SECONDS_A_CALL * _OPERATIONS_A_SECOND / max(operations, 1)
    longest_epoch = max(plan.steps_per_epoch(p.first_epoch) for p in plan.phases)
    return max(1, min(math.floor(calls), _MOST, longest_epoch))


def _multiplications(model) -> float:
    """Counts the multiplications of one example's forward pass in dense and convolution layers.

    Infinite if it is not known how often a kernel is applied: in a subclassed model, if its input
    is not a vector.
    """
    total = 0
    for layer in layers(model, include_self=False):
        kernel = getattr(layer, "kernel", None)
        if kernel is None:
            continue
        if hasattr(layer, "output"):
            total += math.prod(kernel.shape) * math.prod(layer.output.shape[1:-1])
        else:
            total += math.prod(kernel.shape) if len(kernel.shape) == 2 else math.inf
    return total


def _is_slow_in_a_loop(model) -> bool:
    """Whether a model seems to have convolutions and runs on a CPU: XLA computes them badly there.

    An epoch of 4 updates of `cifar_resnet(depth=8, width=8)` at batch 64 takes 3.2 s in a loop and
    0.17 s without (medians, n=7).
    """
    on_cpu = keras.distribution.list_devices()[0].startswith("cpu")
    return on_cpu and any(len(variable.shape) > 2 for variable in model.trainable_variables)
