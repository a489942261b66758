"""Draws arms that differ in one number: a metric's last value against that number."""

import re
import statistics
from typing import Any

from lbkeras import metrics
from lbkeras.derived import is_target
from lbkeras.replication.plots.style import (
    Arms,
    arm_style,
    finish,
    label_axes,
    limit_accuracy,
    new_figure,
    spread_note,
    ticks_at,
)

Groups = dict[str, list[tuple[float, float, float, int]]]  # value, mean, standard deviation, n

_BESIDE = 1.03  # factor from the x of a group to that of the next
# An arm's name has its line (group) and its position on it: lars_4096, sgd_32_rate_0_01.
_NAMES = {
    "learning_rate": re.compile(r"(?P<group>.+)_rate_(?P<value>\d+(_\d+)?)"),
    "batch_size": re.compile(r"(?P<group>.+(?<!_trial))_(?P<value>\d+)"),
}


def sweeps(arms: Arms, column: str) -> dict[str, Groups]:
    """Finds out from the arms' names which number they vary.

    Args:
        arms: the runs of each arm, by seed.
        column: a metric of the runs' final values.

    Returns:
        `{"batch_size" or "learning_rate": {group: [(value, mean, standard deviation, n), ...]}}`
        over finished seeds, sorted by value; accuracies are in percent. For a target, arms with a
        seed that did not reach it are left out. Groups with fewer than two arms are always left
        out. {} if an arm has another form of name, or no group is left.
    """
    for quantity, pattern in _NAMES.items():
        matches = {arm: pattern.fullmatch(arm) for arm in arms}
        if not matches or not all(matches.values()):
            continue
        groups: dict[str, list] = {}
        for arm, match in matches.items():
            finished = [run for run in arms[arm].values() if run.status == "finished"]
            values = [run.value(column) for run in finished]
            if is_target(column) and None in values:
                continue  # a mean of those that reached it would favor the arm
            values = [value for value in values if value is not None]
            if values:
                point = (float(match["value"].replace("_", ".")), *_statistics(values, column))
                groups.setdefault(match["group"], []).append(point)
        groups = {group: sorted(points) for group, points in groups.items() if len(points) > 1}
        return {quantity: groups} if groups else {}
    return {}


def draw_sweep(groups: Groups, column: str, quantity: str, title: str | None = None):
    """Draws a line per group, with a bar of ± one standard deviation at each point.

    Groups are shifted slightly in x, so that no bar hides another.

    Args:
        groups: one quantity's entry of what `sweeps` returns.
        column: the metric.
        quantity: what the arms vary; on a logarithmic axis.
        title: the figure's title.
    """
    figure, (axes,) = new_figure(1, height=4.3)
    axes.set_xscale("log")
    counts = {point[3] for points in groups.values() for point in points}
    for index, (group, points) in enumerate(groups.items()):
        x, mean, deviation, n = zip(*points, strict=True)
        beside = _BESIDE ** (index - (len(groups) - 1) / 2)
        settings: dict[str, Any] = arm_style(index, len(groups), widening=0.0)
        settings |= {"marker": "o", "markersize": 5}
        label = (
            group
            if len(counts) == 1 and counts != {1}
            else f"{group} (n={'/'.join(map(str, sorted(set(n))))})"
        )
        x = [beside * value for value in x]
        axes.errorbar(x, mean, deviation, capsize=3, elinewidth=1, label=label, **settings)
    if metrics.of(column).is_share:
        if quantity == "learning_rate":  # rates that are too high fail: show the best
            best = [max(points, key=lambda point: point[1]) for points in groups.values()]
        else:
            best = [point for points in groups.values() for point in points]
        limit_accuracy(axes, [mean + way * sd for _, mean, sd, _ in best for way in (-1, 1)])
    label_axes(axes, quantity, column)
    finish(figure, axes, title, bar=spread_note(counts))
    ticks_at(axes.xaxis, (point[0] for points in groups.values() for point in points))
    return figure


def _statistics(values: list[float], column: str) -> tuple[float, float, int]:
    factor = metrics.of(column).factor
    deviation = statistics.stdev(values) if len(values) > 1 else 0.0
    return factor * statistics.fmean(values), factor * deviation, len(values)
