"""Lets a method replace the forward and backward pass over each micro-batch."""

from collections.abc import Callable
from typing import Any, Protocol

_KEY = "lbkeras.passes"  # attribute of the model


class Passes(Protocol):
    """Wraps the pass of `micro_batch_train_step` over each micro-batch; attached by `set_passes`.

    Attributes:
        variables: Keras variables whose values are passed from one micro-batch to the next, like
            the model's own state, and are assigned with it at the update.
    """

    variables: list

    def __call__(self, one_pass: Callable, data: Any, variables: list, state: list) -> tuple:
        """Computes, in a replica, a micro-batch's part of an update; changes no variable.

        Args:
            one_pass: `(data, state) -> (gradients, state, losses)`, the pass that is replaced.
            data: the micro-batch, `(x, y)` or `(x, y, sample_weight)`.
            variables: the model's non-trainable variables, the variables of its metrics, and
                `variables` from above.
            state: the values of `variables`, in that order.

        Returns:
            `(gradients, state, losses)`, as `one_pass` does.
        """

    def before_update(self, variables: list, state: list) -> list:
        """Returns, in a replica, the state to assign before the optimizer changes the weights."""


def passes_of(model) -> Passes | None:
    """Returns the `Passes` attached to the model, or None."""
    return vars(model).get(_KEY)


def set_passes(model, passes: Passes | None) -> None:
    """Attaches `passes` to the train steps traced from now on; None removes them."""
    vars(model).pop(_KEY, None)
    if passes is not None:
        vars(model)[_KEY] = passes
