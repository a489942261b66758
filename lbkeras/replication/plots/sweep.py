"""The picture of arms that differ in one number: a metric's last value against that number."""

import re
import statistics
from typing import Any

# An arm's name says which line it belongs to and where: lars_4096, sgd_32_rate_0_01.
_NAMES = {
    "learning_rate": re.compile(r"(?P<group>.+)_rate_(?P<value>\d+(_\d+)?)"),
    "batch_size": re.compile(r"(?P<group>.+)_(?P<value>\d+)"),
}


def sweeps(workdir, column: str) -> dict[str, dict[str, list[tuple[float, float, float, int]]]]:
    """What the arms of a replication vary, by their names.

    Args:
        workdir: what `read_replication_folder` read.
        column: a metric of the runs' final values.

    Returns:
        `{"batch_size" or "learning_rate": {group: [(value, mean, standard deviation, n), ...]}}`
        over finished seeds, in the values' order; {} where fewer than two arms of a group finished
        or an arm has another name. Accuracies are in per cent.
    """
    for quantity, pattern in _NAMES.items():
        matches = {arm: pattern.fullmatch(arm) for arm in workdir.runs}
        if not matches or not all(matches.values()):
            continue
        groups: dict[str, list] = {}
        for arm, match in matches.items():
            finished = [run for run in workdir.runs[arm].values() if run.status == "finished"]
            values = [run.value(column) for run in finished]
            values = [value for value in values if value is not None]
            if values:
                point = (float(match["value"].replace("_", ".")), *_statistics(values, column))
                groups.setdefault(match["group"], []).append(point)
        groups = {group: sorted(points) for group, points in groups.items() if len(points) > 1}
        return {quantity: groups} if groups else {}
    return {}


def draw_sweep(axes, groups: dict[str, list], style) -> None:
    """A line a group with a bar of one standard deviation up and down at each point.

    Args:
        axes: of matplotlib; its x axis becomes logarithmic.
        groups: one quantity's entry of what `sweeps` returns.
        style: function of a group's number and the number of groups to matplotlib's line style.
    """
    axes.set_xscale("log")
    for index, (group, points) in enumerate(groups.items()):
        x, mean, deviation, n = zip(*points, strict=True)
        settings: dict[str, Any] = style(index, len(groups)) | {"marker": "o", "markersize": 5}
        counts = sorted(set(n))
        label = f"{group} (n={'/'.join(map(str, counts))})"
        axes.errorbar(x, mean, deviation, capsize=3, elinewidth=1, label=label, **settings)


def _statistics(values: list[float], column: str) -> tuple[float, float, int]:
    factor = 100 if column.endswith("accuracy") else 1
    deviation = statistics.stdev(values) if len(values) > 1 else 0.0
    return factor * statistics.fmean(values), factor * deviation, len(values)
