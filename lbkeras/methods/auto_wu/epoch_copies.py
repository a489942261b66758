"""The states of a warm-up's last epochs, to one of which AutoWU takes the model back."""

from collections.abc import Iterable

import keras
import numpy as np

from lbkeras.distribution.replica_average import average_over_replicas
from lbkeras.errors import UserError
from lbkeras.methods.micro_batches.passes import passes_of

MOST = 4  # copies that are kept


def epoch_of(place: float, epochs: int) -> int:
    """The epoch at whose end the training was nearest to a place of the warm-up.

    >>> [epoch_of(place, epochs=10) for place in (0.0, 0.64, 0.65, 1.0)]
    [1, 6, 7, 10]

    Args:
        place: in [0, 1].
        epochs: done so far, at least 1.

    Returns:
        Epochs done at that end, from 1 to `epochs`.
    """
    return max(1, int(place * epochs + 0.5))


def nearest(epoch: int, kept: Iterable[int]) -> int:
    """The one of the kept epochs that is nearest, of two that are equally near the earlier one.

    >>> nearest(6, [2, 5, 7, 8])
    5
    """
    return min(sorted(kept), key=lambda each: abs(each - epoch))


def superfluous(epoch: int, kept: Iterable[int]) -> int:
    """The one of the kept epochs that goes: the one farthest from the minimum, never the newest.

    With 4 copies the epoch of the minimum was there at the switch in 96 of 98 recorded and
    synthetic warm-ups, and one beside it in the other two; of the last 4 epochs it was one in 69.
    The newest stays, since the loss may fall again. Of two that are equally far the earlier one
    goes.

    >>> superfluous(6, [3, 5, 6, 7, 11]), superfluous(11, [3, 5, 6, 7, 11])
    (3, 3)

    Args:
        epoch: of the minimum, as the losses so far have it.
        kept: at least two.
    """
    *older, _ = sorted(kept)
    return max(older, key=lambda each: abs(each - epoch))


def read_state(model: keras.Model) -> list[np.ndarray]:
    """Copies of all floating-point variables of a model and its optimizer.

    Weights, statistics and slots, the average of the weights and the loss scale where there are
    such, and what `ConcurrentAdversarial` keeps; not the whole numbers, which are counters and
    random states. Statistics that differ between replicas become their mean, in the model too, as
    when a `Checkpoint` is written. With several workers all must call it.
    """
    average_over_replicas(model)
    return [np.asarray(keras.ops.convert_to_numpy(each)) for each in _variables(model)]


def write_state(model: keras.Model, state: list[np.ndarray]) -> None:
    """Gives a model and its optimizer what `read_state` returned; all workers must call it."""
    for variable, value in zip(_variables(model), state, strict=True):
        variable.assign(value)


def check_order(after: Iterable) -> None:
    """Refuses, among the callbacks after AutoWU, those that keep the weights of the best epoch.

    They would keep for an epoch's logs the weights to which the model has gone back since.

    Raises:
        UserError: there is one.
    """
    for each in after:
        if getattr(each, "restore_best_weights", False) or getattr(each, "save_best_only", False):
            raise UserError(
                f"callbacks: expected {type(each).__name__}, which keeps the weights of the best "
                "epoch, before AutoWU(restore=True), which takes the model back to those of "
                "another one, received it after"
            )


def _variables(model) -> list:
    of_passes = getattr(passes_of(model), "saved", ())
    every = [*model.variables, *model.optimizer.variables, *of_passes]
    return [each for each in every if keras.backend.is_float_dtype(each.dtype)]
