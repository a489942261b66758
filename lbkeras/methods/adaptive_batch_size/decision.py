"""Chooses the next batch size: one rung of a ladder at a time, towards a measured target."""

import math
from collections.abc import Sequence

from lbkeras import checks
from lbkeras.errors import UserError


def batch_size_ladder(
    batch_size: int, smallest: int, largest: int, factor: int = 2
) -> tuple[int, ...]:
    """Returns the batch sizes that a run may use: batch_size · factor^i for integers i.

    >>> batch_size_ladder(32, smallest=16, largest=143)
    (16, 32, 64, 128)

    Args:
        batch_size: the first size of the run, between the two bounds.
        smallest, largest: bounds; sizes below `batch_size` must divide it.
        factor: ratio of one rung to the next lower one, at least 2.

    Raises:
        UserError: an argument is out of range, or the largest is below the smallest.
    """
    batch_size = checks.integer("batch_size", batch_size, minimum=1)
    smallest = checks.integer("min_batch_size", smallest, minimum=1)
    largest = checks.integer("max_batch_size", largest, minimum=1)
    factor = checks.integer("factor", factor, minimum=2)
    if largest < smallest:
        raise UserError(
            f"max_batch_size: expected at least min_batch_size={smallest}, received {largest}"
        )
    if not smallest <= batch_size <= largest:
        raise UserError(
            f"batch_size: expected {smallest} to {largest} (min_batch_size to max_batch_size), "
            f"received {batch_size}"
        )
    sizes = [batch_size]
    while sizes[0] % factor == 0 and sizes[0] // factor >= smallest:
        sizes.insert(0, sizes[0] // factor)
    while sizes[-1] * factor <= largest:
        sizes.append(sizes[-1] * factor)
    return tuple(sizes)


def next_batch_size(
    batch_size: int, ladder: tuple[int, ...], lower: float, upper: float
) -> tuple[int, str]:
    """Returns the next epoch's batch size and the reason for it.

    It goes one rung up if even the target's lower bound reaches the next rung, and one rung down if
    even its upper bound is below the next lower rung. Otherwise it stays: a target that varies by
    less than a factor of two rungs does not move the batch size back and forth.

    >>> next_batch_size(64, (32, 64, 128), lower=150.0, upper=400.0)
    (128, 'gradient noise allows at least 150; growing to 128')

    Args:
        batch_size: the current size, one of the ladder's.
        ladder: sizes in increasing order, from `batch_size_ladder`.
        lower, upper: bounds of the target in examples; may be infinite, or NaN if unknown.
    """
    rung = ladder.index(batch_size)
    least, most = (f"gradient noise allows at {word}" for word in ("least", "most"))
    if math.isnan(lower) or math.isnan(upper):
        return batch_size, f"the gradient noise is not known yet; staying at {batch_size}"
    if rung + 1 < len(ladder) and lower >= ladder[rung + 1]:
        size = ladder[rung + 1]
        return size, f"{least} {lower:,.0f}; growing to {size}"
    if rung > 0 and upper < ladder[rung - 1]:
        size = ladder[rung - 1]
        return size, f"{most} {upper:,.0f}; shrinking to {size}"
    if rung + 1 == len(ladder) and lower >= batch_size:
        return batch_size, f"{least} {lower:,.0f}; {batch_size} is the largest size"
    if rung == 0 and upper < batch_size:
        return batch_size, f"{most} {upper:,.0f}; {batch_size} is the smallest size"
    bounds = f"{least} {lower:,.0f}"
    if math.isfinite(upper):
        bounds = f"gradient noise allows {lower:,.0f} to {upper:,.0f}"
    return batch_size, f"{bounds}; staying at {batch_size}"


def loss_regressed(losses: Sequence[float], batch_sizes: Sequence[int]) -> bool:
    """Whether the last epoch shows that the batch size and the learning rate grew too far.

    They did if its loss is more than a fifth above the lowest so far, within two epochs of a
    larger batch. The gradient noise tells how much a learning rate may grow, not how much the model
    tolerates.

    >>> loss_regressed([0.5, 0.4, 0.6], batch_sizes=[8, 16, 16])
    True

    Args:
        losses: training losses of the epochs so far.
        batch_sizes: batch sizes of these epochs.
    """
    grew = batch_sizes[-1] > batch_sizes[-3:][0]
    return grew and losses[-1] > 1.2 * min(losses)
