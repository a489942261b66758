"""Final values that are computed from a run's history.

The name says from which column and how: `val_accuracy_median_of_last_5`. These names are valid
wherever a metric is named (a config's `metric`, claims, `lbkeras.compare`). Nothing has to be
logged for them; a run's history.jsonl is enough, also for runs that are already trained.
"""

import dataclasses
import itertools
import re
import statistics
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from lbkeras import checks
from lbkeras.errors import UserError

Rows = Sequence[Mapping[str, Any]]  # of a history, one per epoch, in order

# The forms of a name, for messages.
FORMS = (
    "METRIC_median_of_last_N",
    "updates_to_METRIC_at_least_X",
    "epochs_to_METRIC_at_most_X",
    "seconds_to_...",
)
SPENT = ("updates", "epochs", "seconds")  # in which the cost of reaching a target is counted
_WAYS = {"higher": "at_least", "lower": "at_most"}


@dataclasses.dataclass(frozen=True)
class Derived:
    """How a final value is computed from a run's history.

    Attributes:
        column: the column of the history that the value is computed from.
        compute: function from the rows to the value; it returns None if the value is not defined
            for this run.
        label: label for readers, with `{}` for the column's label, then for the target.
        unit: unit in which the value is shown; None: the column's.
        better: `"higher"` or `"lower"`; None: as for the column.
        cost: whether the value counts what a run spent rather than how good its model is.
        target: the value that the column has to reach; None: this is not the cost of a target.
        bound: for a target that the run did not reach, what the run spent up to its last
            evaluation, a lower bound of the value; None: the run was never evaluated.
        resolution: for a target, the most that the run spent between two evaluations; None: the run
            was never evaluated.
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
    """Returns the derived value with this name, or None if the name is not of that form.

    >>> rows = [{"epoch": e, "val_loss": v} for e, v in enumerate((9.0, 3.0, 1.0, 2.0))]
    >>> derived("val_loss_median_of_last_3").compute(rows)
    2.0

    Raises:
        UserError: a number in the name is out of range.
    """
    for form, make in _KINDS.items():
        if match := re.fullmatch(form, name):
            return make(*match.groups())
    return None


def is_target(name: str) -> bool:
    """Whether a name means the cost of reaching a target.

    >>> is_target("epochs_to_val_loss_at_most_0.1"), is_target("val_loss_median_of_last_5")
    (True, False)
    """
    found = derived(name)
    return found is not None and found.target is not None


def column_of(name: str) -> str:
    """Returns the column that a derived value is computed from, any other name unchanged.

    >>> column_of("val_accuracy_median_of_last_5"), column_of("val_accuracy")
    ('val_accuracy', 'val_accuracy')
    """
    found = derived(name)
    return name if found is None else found.column


def target_name(column: str, value: float, better: str) -> str:
    """Returns the name of a target, to be put after `updates_to_`, `epochs_to_` or `seconds_to_`.

    >>> target_name("val_accuracy", 0.759, "higher")
    'val_accuracy_at_least_0.759'

    Args:
        column: column of the history.
        value: value to reach.
        better: `"higher"`: reached at or above the value; `"lower"`: at or below it.
    """
    return f"{column}_{_WAYS[better]}_{value!r}"


def _to_target(spent: str, column: str, way: str, value: str) -> Derived:
    """Computes `SPENT_to_COLUMN_at_least_X`: the cost up to the first evaluation at the target.

    The cost is the number of updates, epochs or seconds of training since the start of the run. A
    run is evaluated every `train.validation_freq` epochs, so the value is too large by up to one
    such interval. If no epoch reached the target, the value is not defined and `bound` is what the
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
            raise UserError(f"history: expected {spent!r} in every epoch, received one without")
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
    """Computes `COLUMN_median_of_last_N`: the median over the last N epochs that have the column.

    A shorter run uses all its epochs. A metric on unseen examples exists only in epochs with an
    evaluation. The median is not defined if one of its values is not finite.

    Reference: Goyal et al., arXiv:1706.02677, section 5.1: the error is the median of the last five
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
