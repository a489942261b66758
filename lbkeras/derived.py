"""Final values that are computed from a run's history; their names say of which column, and how.

A name is that of a column with what is done to it, such as `val_accuracy_median_of_last_5`. Where
metrics are named (a config's `metric`, claims, `lbkeras.compare`) these are too, with nothing to
log: what a run's history.jsonl holds is enough, also of one that was trained before.
"""

import dataclasses
import re
import statistics
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from lbkeras import checks

Rows = Sequence[Mapping[str, Any]]  # of a history, one an epoch, in order

# What `METRIC` may be followed by, for messages.
FORMS = ("METRIC_median_of_last_N",)


@dataclasses.dataclass(frozen=True)
class Derived:
    """How a final value comes from a run's history.

    Attributes:
        column: of the history, that it is computed from.
        compute: from the rows to the value; None: it is not defined for this run.
        label: for readers, with `{}` for the label of the column.
        unit: in which it is shown; None: that of the column.
        better: `"higher"` or `"lower"`; None: as the column.
        cost: whether it counts what a run spent rather than how good its model is.
    """

    column: str
    compute: Callable[[Rows], float | None]
    label: str = "{}"
    unit: str | None = None
    better: str | None = None
    cost: bool = False


def derived(name: str) -> Derived | None:
    """What a name says is computed; None: it is that of no derived value.

    >>> rows = [{"epoch": e, "val_loss": v} for e, v in enumerate((9.0, 3.0, 1.0, 2.0))]
    >>> derived("val_loss_median_of_last_3").compute(rows)
    2.0

    Raises:
        UserError: a number in it is out of its range.
    """
    for form, make in _KINDS.items():
        if match := re.fullmatch(form, name):
            return make(*match.groups())
    return None


def column_of(name: str) -> str:
    """The column that a derived value is computed from; any other name as it is.

    >>> column_of("val_accuracy_median_of_last_5"), column_of("val_accuracy")
    ('val_accuracy', 'val_accuracy')
    """
    found = derived(name)
    return name if found is None else found.column


def _median_of_last(column: str, number: str) -> Derived:
    """`COLUMN_median_of_last_N`: over the last N epochs that have the column.

    What is measured on unseen examples has a value where a run was evaluated. Not defined where
    fewer than N epochs have it, or one of them is not finite.

    Reference: Goyal et al., arXiv 1706.02677, section 5.1: the error is the median of the last five
    epochs.
    """
    count = checks.integer(f"{column}_median_of_last_N: N", int(number), minimum=1)

    def compute(rows: Rows) -> float | None:
        values = [row[column] for row in rows if column in row][-count:]
        if len(values) < count or None in values:
            return None
        return statistics.median(values)

    return Derived(column, compute, label=f"{{}}, median of last {count}")


_KINDS: dict[str, Callable[..., Derived]] = {r"(\w+)_median_of_last_([0-9]{1,6})": _median_of_last}
