"""How many updates an epoch-wise plan makes: what becomes of an epoch's last, short batch."""

from collections.abc import Iterable

from lbkeras import checks

REMAINDERS = ("drop", "keep", "carry")


def count_updates(
    stretches: Iterable[tuple[int, int]], num_examples: int, remainder: str = "drop"
) -> int:
    """Updates that training on one batch size after the other takes.

        drop   Σ epochs · ⌊num_examples / batch_size⌋
        keep   Σ epochs · ⌈num_examples / batch_size⌉
        carry  batches run on across the ends of epochs and stretches; the last leftover is dropped

    >>> [count_updates([(200, 128)], 50_000, remainder) for remainder in REMAINDERS]
    [78000, 78200, 78125]

    Args:
        stretches: `(epochs, batch_size)` pairs.
        num_examples: examples an epoch.
        remainder: what happens to examples that do not fill a batch: `"drop"`, `"keep"` (a short
            batch) or `"carry"` (into the next epoch).

    Raises:
        UserError: `remainder` is none of the three.
    """
    checks.choice("remainder", remainder, REMAINDERS)
    updates = leftover = 0
    for epochs, batch_size in stretches:
        if remainder == "drop":
            updates += epochs * (num_examples // batch_size)
        elif remainder == "keep":
            updates += epochs * -(-num_examples // batch_size)
        else:
            more, leftover = divmod(leftover + epochs * num_examples, batch_size)
            updates += more
    return updates
