"""What a method makes of the one pass over each piece of a batch that training needs."""

from collections.abc import Callable
from typing import Any, Protocol

_KEY = "lbkeras.passes"  # under which a model holds it


class Passes(Protocol):
    """Stands between `micro_batch_train_step` and its pass over a piece; `set_passes` attaches it.

    Attributes:
        variables: Keras variables that go from piece to piece, as the model's own state does, and
            are assigned with it when the update is made.
    """

    variables: list

    def __call__(self, one_pass: Callable, data: Any, variables: list, state: list) -> tuple:
        """In a replica: what the piece adds to an update, of which nothing is changed yet.

        Args:
            one_pass: `(data, state) -> (gradients, state, losses)`, the pass that there would be.
            data: the piece, `(x, y)` or `(x, y, sample_weight)`.
            variables: the model's that are not trained, its metrics' and those above.
            state: their values, in that order.

        Returns:
            What `one_pass` returns.
        """

    def before_update(self, variables: list, state: list) -> list:
        """In a replica: the state to be assigned, before the optimizer changes the weights."""


def passes_of(model) -> Passes | None:
    """What the model's pieces go through, or None."""
    return vars(model).get(_KEY)


def set_passes(model, passes: Passes | None) -> None:
    """Lets the train steps traced from now on go through `passes`, or none of them."""
    vars(model).pop(_KEY, None)
    if passes is not None:
        vars(model)[_KEY] = passes
