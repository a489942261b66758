"""Compares the epochs that our runs took to a target with those of the recipe's own reference."""

import itertools
import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from lbkeras import checks
from lbkeras.derived import is_target
from lbkeras.errors import UserError
from lbkeras.metrics import targets
from lbkeras.replication.comparison import ALPHA, Comparison
from lbkeras.runs.record import RunFolder

FASTER = (
    "faster than the reference allows: before believing it, check what it was evaluated on, how "
    "the target is measured and what was changed in the recipe"
)
_KEYS = ("source", "tag", "target", "epochs")


def describe_reference(
    given: Mapping[str, Any], ways: Mapping[str, str | None], plans: Mapping[str, Any]
) -> dict[str, Any]:
    """Returns a config's reference in the form that replication.json holds.

    Args:
        given: what the config's `get_reference` returns: `source` and `tag` in words; `target`, a
            metric and its value; `epochs`, the epochs to the target by batch size.
        ways: the better direction of each metric.
        plans: the Plan of each arm. An arm whose batch size changes has no point.

    Returns:
        `source`, `tag`, `target` (as `metrics.targets` names it) and `points`: for each arm its
        `batch_size`, the reference's `epochs` at this batch size, and whether they are
        `interpolated` linearly between the two nearest batch sizes. An arm below the smallest or
        above the largest batch size of the reference has no point.

    Raises:
        UserError: a key is missing or unusable.
    """
    if not isinstance(given, Mapping) or set(given) != set(_KEYS):
        raise UserError(f"reference: expected the keys {', '.join(_KEYS)}, received {given!r}")
    names = targets(given["target"], ways)
    if len(names) != 1:
        raise UserError(f"reference: expected one target, received {given['target']!r}")
    points = {}
    for arm, plan in plans.items():
        sizes = {phase.batch_size for phase in plan.phases}
        found = epochs_at(given["epochs"], min(sizes)) if len(sizes) == 1 else None
        if found is not None:
            values = ("batch_size", "epochs", "interpolated")
            points[arm] = dict(zip(values, (min(sizes), *found), strict=True))
    return {key: given[key] for key in ("source", "tag")} | {"target": names[0], "points": points}


def epochs_at(epochs: Mapping[int, float], batch_size: int) -> tuple[float, bool] | None:
    """Returns a reference's epochs at a batch size and whether they are interpolated.

    None if the batch size is outside of the reference's range.

    >>> epochs = {4096: 40.0, 8192: 42.0}
    >>> epochs_at(epochs, 4096), epochs_at(epochs, 6144), epochs_at(epochs, 2048)
    ((40.0, False), (41.0, True), None)
    """
    if batch_size in epochs:
        return float(epochs[batch_size]), False
    for low, high in itertools.pairwise(sorted(epochs)):
        if low < batch_size < high:
            share = (batch_size - low) / (high - low)
            return epochs[low] + share * (epochs[high] - epochs[low]), True
    return None


def check_reference(source: str, reference: Any) -> None:
    """Checks the reference in a replication.json.

    Raises:
        UserError: it does not have the form that `describe_reference` returns.
    """
    points = reference.get("points") if isinstance(reference, dict) else None
    if not isinstance(points, dict) or not is_target(f"epochs_to_{reference.get('target')}"):
        raise UserError(f"{source}: expected a 'reference' with a target and points, received "
                        f"{str(reference)[:100]!r}")  # fmt: skip
    for arm, point in points.items():
        for key in ("batch_size", "epochs"):
            value = point.get(key) if isinstance(point, dict) else None
            checks.positive(f"{source}: reference of {arm}: {key}", value)


def compare_with_reference(
    reference: Mapping[str, Any], runs: Mapping[str, Sequence[RunFolder]]
) -> dict[str, Any]:
    """Adds to a reference what our finished runs took.

    An arm is flagged if a one-sided t-test over its seeds, at a significance level of 5 %, says
    that it needs fewer epochs than the reference. A standard deviation below the epochs between two
    evaluations is taken as those. Nothing is decided from a single run, or if not all runs reached
    the target.

    Args:
        reference: as `describe_reference` returns it.
        runs: the finished runs of each arm.

    Returns:
        The reference. Each point also has `n`; how many runs `reached` the target; the `mean`
        epochs, if all did; the `p_value` of the test; `suspicious`; and a `finding` in words.
    """
    metric = f"epochs_to_{reference['target']}"
    points = {}
    for arm, point in reference["points"].items():
        values = [run.value(metric) for run in runs.get(arm, ())]
        reached = [value for value in values if value is not None]
        found = {"n": len(values), "reached": len(reached), "mean": None, "p_value": None}
        if values and len(reached) == len(values):
            found["mean"] = statistics.fmean(reached)
        if found["mean"] is not None and len(values) > 1:
            steps = [run.resolution(metric) or 0.0 for run in runs[arm]]
            deviation = max(statistics.stdev(reached), *steps)
            difference = found["mean"] - point["epochs"]
            test = Comparison(difference, deviation / len(values) ** 0.5, len(values) - 1, 0, False)
            found["p_value"] = test.p_below(0.0)
        found["suspicious"] = found["p_value"] is not None and found["p_value"] < ALPHA
        points[arm] = {**point, **found, "finding": _finding(found, point["epochs"])}
    return {**reference, "points": points}


def _finding(found: Mapping[str, Any], epochs: float) -> str:
    if not found["n"]:
        return "not run"
    if found["mean"] is None:
        return f"reached by {found['reached']} of {found['n']}"
    if found["suspicious"]:
        return FASTER
    if found["mean"] >= epochs:
        return "not faster than the reference"
    why = "a single run decides nothing" if found["n"] == 1 else "within the spread"
    return f"faster, but {why}"
