"""Draws a column of the histories against epochs, updates or seconds, one line per arm."""

import math
import statistics
from typing import Any

from lbkeras import metrics
from lbkeras.metrics import NOISE_SCALE, noise_scale_is_lower_bound
from lbkeras.replication.plots.style import (
    Arms,
    arm_style,
    finish,
    label_axes,
    limit_accuracy,
    new_figure,
    plain_ticks,
    points_of,
    spread_note,
)
from lbkeras.runs.record import RunFolder


def draw_curves(arms: Arms, column: str, against: str, title: str | None = None):
    """Draws `column` against epochs, updates or seconds; returns None without data."""
    styles = {arm: arm_style(index, len(arms)) for index, arm in enumerate(arms)}
    if column == NOISE_SCALE:  # only the arms that measured it
        arms = {
            arm: runs
            for arm, runs in arms.items()
            if any(column in row for run in runs.values() for row in run.history)
        }
    figure, (axes,) = new_figure(1, height=4.3)
    curves = {
        arm: {seed: _curve(run, column, against) for seed, run in runs.items()}
        for arm, runs in arms.items()
    }
    finished = {
        arm: [curves[arm][seed] for seed, run in runs.items() if _is_drawn(run, curves[arm][seed])]
        for arm, runs in arms.items()
    }
    counts = {len(each) for each in finished.values()}
    drawn, ends, shown = 0, [], []
    for arm, runs in arms.items():
        style = styles[arm]
        label = _legend(arm, runs, finished[arm], column, len(counts) > 1)
        axes.plot([], [], label=label, **style)
        band = _band(finished[arm]) if finished[arm] else None
        if band:
            x, low, mean, high = band
            axes.plot(x, mean, **style)
            if len(finished[arm]) > 1:
                axes.fill_between(x, low, high, color=style["color"], alpha=0.16, linewidth=0)
            if column == NOISE_SCALE:
                _mark_lower_bounds(axes, x, mean, runs, style)
            ends.append(x[-1])
            shown += [low[-1], max(high)]
            drawn += 1
        for seed, run in runs.items():
            if run.status != "finished" and curves[arm][seed]:
                _draw_unfinished(axes, curves[arm][seed], style, run.status)
                ends.append(curves[arm][seed][-1][1])
                drawn += 1
    if not drawn:
        return None
    if column == NOISE_SCALE or column.endswith("loss") and _spans_decades(axes):
        axes.set_yscale("log")
        plain_ticks(axes.yaxis)
    elif metrics.of(column).is_share:
        limit_accuracy(axes, shown)
    if against == "updates" and max(ends) > 3 * min(ends):
        axes.set_xscale("log")
        bottom = axes.get_ylim()[0]
        axes.set_xlim(left=0.8 * min(x for x, y in points_of(axes) if y >= bottom))
    label_axes(axes, against, column)
    if column == NOISE_SCALE:
        axes.set_ylabel(f"{axes.get_ylabel()}\n▲ a lower bound in most runs")
    finish(figure, axes, title, band=spread_note(counts))
    return figure


def _is_drawn(run: RunFolder, curve) -> bool:
    return run.status == "finished" and bool(curve)


def _legend(arm: str, runs: dict[int, RunFolder], finished, column: str, counted: bool) -> str:
    """Returns an arm's legend: its last value and spread, `original: 94.30 ± 0.12 (1 diverged)`.

    n is included only if the arms differ in n, or if it is less than 2: otherwise the legend of the
    band has it.
    """
    lasts = [curve[-1][2] for curve in finished]
    diverged = sum(run.status == "diverged" for run in runs.values())
    counts = [f"n={len(lasts)}"] if counted or len(lasts) < 2 else []
    counts += [f"{diverged} diverged"] if diverged else []
    counts = f" ({', '.join(counts)})" if counts else ""
    if not lasts:
        return f"{arm}{counts}"
    mean, deviation = statistics.fmean(lasts), statistics.stdev(lasts) if len(lasts) > 1 else 0.0
    digits = 2
    if not metrics.of(column).is_share:  # 2 significant digits of deviation or 3 of mean
        digits = max(0, (1 if deviation else 2) - _exponent(deviation or mean))
    spread = f" ± {deviation:,.{digits}f}" if len(lasts) > 1 else ""
    return f"{arm}: {mean:,.{digits}f}{spread}{counts}"


def _exponent(value: float) -> int:
    return math.floor(math.log10(abs(value))) if value else 0


def _mark_lower_bounds(axes, x, mean, runs: dict[int, RunFolder], style: dict[str, Any]) -> None:
    """Marks with triangles where most finished runs have only a lower bound of the noise scale."""
    histories = [run.history for run in runs.values() if run.status == "finished"]
    bounds = [
        row.get("epoch", number) + 1
        for history in histories
        for number, row in enumerate(history)
        if noise_scale_is_lower_bound(row)
    ]
    points = [
        (epoch, y)
        for epoch, y in zip(x, mean, strict=True)
        if 2 * bounds.count(round(epoch)) > len(histories)
    ]
    if points:
        axes.plot(*zip(*points, strict=True), "^", color=style["color"], markersize=5, zorder=6)


def _draw_unfinished(axes, curve, style: dict[str, Any], status: str) -> None:
    _, x, y = zip(*curve, strict=True)
    axes.plot(x, y, **{**style, "linewidth": 0.9, "alpha": 0.8})
    if status == "diverged":
        axes.plot(
            x[-1:], y[-1:], "x", color=style["color"], markersize=8, markeredgewidth=2, zorder=6
        )


def _curve(run: RunFolder, column: str, against: str) -> list[tuple[int, float, float]]:
    """Returns a run's points (epoch, x, y) where both columns have values; accuracy in percent.

    A history's `seconds` are per epoch, so the wall clock is their running sum.
    """
    points, seconds = [], 0.0
    factor = metrics.of(column).factor
    for number, row in enumerate(run.history):
        epoch = row.get("epoch", number)
        seconds += row.get("seconds") or 0.0
        x = {"epochs": epoch + 1, "updates": row.get("updates"), "seconds": seconds}[against]
        if row.get(column) is not None and x:
            points.append((epoch, x, factor * row[column]))
    return points


def _band(curves):
    """Returns (x, low, mean, high) over the curves, at the epochs that all of them have.

    x and mean are means; low and high are one standard deviation below and above. Where low would
    not be above 0, which a logarithmic axis cannot show, it is the lowest curve. None if the curves
    share no epoch.
    """
    import numpy as np

    by_epoch = [{epoch: (x, y) for epoch, x, y in curve} for curve in curves]
    shared = sorted(set.intersection(*(set(points) for points in by_epoch)))
    if not shared:
        return None
    x, y = np.array([[points[epoch] for epoch in shared] for points in by_epoch]).transpose(2, 0, 1)
    mean, deviation = y.mean(0), y.std(0, ddof=min(len(y) - 1, 1))
    low = np.where(mean > deviation, mean - deviation, y.min(0))
    return x.mean(0), low, mean, mean + deviation


def _spans_decades(axes) -> bool:
    values = [y for _, y in points_of(axes) if y > 0]
    return bool(values) and max(values) > 10 * min(values)
