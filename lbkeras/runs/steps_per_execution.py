"""How many updates to run in one call of the training graph."""

import math

from lbkeras.keras_internals.model import layers

# One call costs the host about 1 ms; a call that computes this long hides it.
_SECONDS_A_CALL = 0.05
_OPERATIONS_A_SECOND = 30e9
_MOST = 50


def choose_steps_per_execution(model, plan) -> int:
    """Enough updates a call that the host's cost of a call, about 1 ms, is small beside them.

    From the multiplications of the model's kernels at the plan's smallest batch, so that the same
    run always gets the same number: small models get up to 50, networks whose update takes 50 ms
    and more get 1 and keep their progress bar, checkpoints and Ctrl-C at every update.

    Args:
        model: a built Keras model.
        plan: the `Plan` it will train by.
    """
    one_node = getattr(model, "one_node", model)  # stacked nodes: an example goes through one
    operations = 3 * 2 * _multiplications(one_node) * min(p.batch_size for p in plan.phases)
    calls = _SECONDS_A_CALL * _OPERATIONS_A_SECOND / max(operations, 1)
    longest_epoch = max(plan.steps_per_epoch(p.first_epoch) for p in plan.phases)
    return max(1, min(math.floor(calls), _MOST, longest_epoch))


def _multiplications(model) -> float:
    """Multiplications of one example's forward pass in dense and convolution layers.

    Infinitely many where it is not known how often a kernel is applied: in a subclassed model, to
    anything but vectors.
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
