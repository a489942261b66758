"""Final values that are computed from a run's history; their names say of which column, and how.

A name is that of a column with what is done to it, such as `val_accuracy_median_of_last_5`. Where
metrics are named (a config's `metric`, claims, `lbkeras.compare`) these are too, with nothing to
log: what a run's history.jsonl holds is enough, also of one that was trained before.
"""

import dataclasses
import itertools
import re
import statistics
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from lbkeras import checks
from lbkeras.errors import UserError

Rows = Sequence[Mapping[str, Any]]  # of a history, one an epoch, in order

# What `METRIC` may be followed by, for messages.
FORMS = (
    "METRIC_median_of_last_N",
    "updates_to_METRIC_at_least_X",
    "epochs_to_METRIC_at_most_X",
    "seconds_to_...",
)
SPENT = ("updates", "epochs", "seconds")  # what it takes to reach a target is counted in
_WAYS = {"higher": "at_least", "lower": "at_most"}


@dataclasses.dataclass(frozen=True)
class Derived:
    """How a final value comes from a run's history.

    Attributes:
        column: of the history, that it is computed from.
        compute: from the rows to the value; None: it is not defined for this run.
        label: for readers, with `{}` for the label of the column, and for the target.
        unit: in which it is shown; None: that of the column.
        better: `"higher"` or `"lower"`; None: as the column.
        cost: whether it counts what a run spent rather than how good its model is.
        target: the value of the column that is to be reached; None: it is no target's.
        bound: of a target, what a run that did not reach it spent until its last evaluation, which
            the value would be above; None: not evaluated.
        resolution: of a target, what a run spent between two evaluations, at most; None: it has
            fewer than one.
    """

    column: str
    compute: Callable[[Rows], float | None]
    label: str = "{}"
    unit: str | None = None
    better: str | None = None
    cost: bool = False
    target: float | None = None
    bound: Callable[[Rows], float | None] = lambda rows: None
    resolution: Callable[[Rows], float | None] = lambda rows: None


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


def is_target(name: str) -> bool:
    """Whether a name says what it takes to reach a target.

    >>> is_target("epochs_to_val_loss_at_most_0.1"), is_target("val_loss_median_of_last_5")
    (True, False)
    """
    found = derived(name)
    return found is not None and found.target is not None


def column_of(name: str) -> str:
    """The column that a derived value is computed from; any other name as it is.

    >>> column_of("val_accuracy_median_of_last_5"), column_of("val_accuracy")
    ('val_accuracy', 'val_accuracy')
    """
    found = derived(name)
    return name if found is None else found.column


def target_name(column: str, value: float, better: str) -> str:
    """The name of a target, which follows `updates_to_`, `epochs_to_` and `seconds_to_`.

    >>> target_name("val_accuracy", 0.759, "higher")
    'val_accuracy_at_least_0.759'

    Args:
        column: of the history.
        value: to be reached.
        better: `"higher"`: reached at or above the value; `"lower"`: at or below it.
    """
    return f"{column}_{_WAYS[better]}_{value!r}"


def _to_target(spent: str, column: str, way: str, value: str) -> Derived:
    """`SPENT_to_COLUMN_at_least_X`: until the first evaluation at which it is reached, included.

    Updates, epochs or seconds of training from the run's begin. A run is evaluated after each
    epoch, or every so many (`train.validation_freq`), so that the value is too large by up to one
    such interval. Not defined where no epoch of the run has reached it: `bound` is then what the
    run spent.
    """
    target, sign = float(value), 1 if way == "at_least" else -1

    def evaluated(rows: Rows) -> list[int]:
        return [number for number, row in enumerate(rows) if column in row]

    def until(rows: Rows, number: int) -> float:
        if spent == "epochs":
            return rows[number]["epoch"] + 1
        columns = [row.get(spent) for row in rows[: number + 1]]
        if None in columns:
            raise UserError(f"history: expected {spent!r} of every epoch, found one without")
        return columns[-1] if spent == "updates" else sum(columns)

    def compute(rows: Rows) -> float | None:
        for number in evaluated(rows):
            reached = rows[number][column]
            if reached is not None and sign * reached >= sign * target:
                return until(rows, number)
        return None

    def bound(rows: Rows) -> float | None:
        numbers = evaluated(rows)
        return until(rows, numbers[-1]) if numbers else None

    def resolution(rows: Rows) -> float | None:
        ends = [0.0, *(until(rows, number) for number in evaluated(rows))]
        return max((b - a for a, b in itertools.pairwise(ends)), default=None)

    return Derived(
        column,
        compute,
        label=f"{spent} to {{}} of {way.replace('_', ' ')} {{}}",
        unit="s, training" if spent == "seconds" else "",
        better="lower",
        target=target,
        bound=bound,
        resolution=resolution,
    )


def _median_of_last(column: str, number: str) -> Derived:
    """`COLUMN_median_of_last_N`: over the last N epochs that have the column, all of a shorter run.

    What is measured on unseen examples has a value where a run was evaluated. Not defined where one
    of them is not finite.

    Reference: Goyal et al., arXiv 1706.02677, section 5.1: the error is the median of the last five
    epochs.
    """
    count = checks.integer(f"{column}_median_of_last_N: N", int(number), minimum=1)

    def compute(rows: Rows) -> float | None:
        values = [row[column] for row in rows if column in row][-count:]
        return statistics.median(values) if values and None not in values else None

    return Derived(column, compute, label=f"median-of-{count} {{}}")


_NUMBER = r"-?[0-9]+(?:\.[0-9]+)?(?:e[+-]?[0-9]+)?"
_KINDS: dict[str, Callable[..., Derived]] = {
    rf"({'|'.join(SPENT)})_to_(\w+)_(at_least|at_most)_({_NUMBER})": _to_target,
    r"(\w+)_median_of_last_([0-9]{1,6})": _median_of_last,
}
