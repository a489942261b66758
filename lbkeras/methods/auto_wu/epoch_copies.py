"""Copies of the model's state at the end of some warm-up epochs; AutoWU restores one of them."""

from collections.abc import Iterable

import keras
import numpy as np

from lbkeras.distribution.replica_average import average_over_replicas
from lbkeras.errors import UserError
from lbkeras.methods.micro_batches.passes import passes_of

MOST = 4  # copies to keep


def epoch_of(place: float, epochs: int) -> int:
    """Returns the epoch whose end is nearest to a place in the warm-up.

    >>> [epoch_of(place, epochs=10) for place in (0.0, 0.64, 0.65, 1.0)]
    [1, 6, 7, 10]

    Args:
        place: in [0, 1].
        epochs: done so far, at least 1.

    Returns:
        Number of epochs done at that end, from 1 to `epochs`.
    """
    return max(1, int(place * epochs + 0.5))


def nearest(epoch: int, kept: Iterable[int]) -> int:
    """Returns the kept epoch nearest to `epoch`; the earlier one in a tie.

    >>> nearest(6, [2, 5, 7, 8])
    5
    """
    return min(sorted(kept), key=lambda each: abs(each - epoch))


def superfluous(epoch: int, kept: Iterable[int]) -> int:
    """Returns the kept epoch to drop: the farthest from the minimum, but never the newest.

    In a tie the earlier one is dropped. The newest stays because the loss may fall again. With 4
    copies, the epoch of the minimum was still kept at the switch in 96 of 98 recorded and
    synthetic warm-ups, and an adjacent epoch in the other two. It was among the last 4 epochs in
    only 69 of them.

    >>> superfluous(6, [3, 5, 6, 7, 11]), superfluous(11, [3, 5, 6, 7, 11])
    (3, 3)

    Args:
        epoch: of the minimum of the losses so far.
        kept: at least two.
    """
    *older, _ = sorted(kept)
    return max(older, key=lambda each: abs(each - epoch))


def read_state(model: keras.Model) -> list[np.ndarray]:
    """Returns copies of all floating-point variables of a model and its optimizer.

    These are weights, statistics and slots, the average of the weights and the loss scale if there
    are any, and the copies that `ConcurrentAdversarial` keeps. Integer variables, which are
    counters and random states, are left out. Statistics that differ between replicas are replaced
    by their mean, in the model too, as when a `Checkpoint` is written. All workers must call it.
    """
    average_over_replicas(model)
    return [np.asarray(keras.ops.convert_to_numpy(each)) for each in _variables(model)]


def write_state(model: keras.Model, state: list[np.ndarray]) -> None:
    """Writes the result of `read_state` to a model and its optimizer; all workers must call it."""
    for variable, value in zip(_variables(model), state, strict=True):
        variable.assign(value)


def check_order(after: Iterable) -> None:
    """Refuses callbacks after AutoWU that keep the weights of the best epoch.

    They would pair an epoch's logs with the weights that AutoWU has restored since.

    Raises:
        UserError: there is such a callback.
    """
    for each in after:
        if getattr(each, "restore_best_weights", False) or getattr(each, "save_best_only", False):
            raise UserError(
                f"callbacks: expected {type(each).__name__}, which keeps the weights of the best "
                "epoch, before AutoWU(restore=True), which restores the weights of another "
                "epoch, received it after AutoWU"
            )


def _variables(model) -> list:
    of_passes = getattr(passes_of(model), "saved", ())
    every = [*model.variables, *model.optimizer.variables, *of_passes]
    return [each for each in every if keras.backend.is_float_dtype(each.dtype)]
