"""The picture of a column of the histories against epochs, updates or seconds, a line an arm."""

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
)
from lbkeras.runs.record import RunFolder


def draw_curves(arms: Arms, column: str, against: str, title: str | None = None):
    """The figure of `column` against epochs, updates or seconds, or None without data."""
    figure, (axes,) = new_figure(1, height=4.3)
    drawn, ends, finals = 0, [], []
    for index, (arm, runs) in enumerate(arms.items()):
        style = arm_style(index, len(arms))
        if column == NOISE_SCALE and not any(
            column in row for run in runs.values() for row in run.history
        ):
            continue  # it did not measure it
        curves = {seed: _curve(run, column, against) for seed, run in runs.items()}
        finished = [
            curves[seed] for seed, run in runs.items() if run.status == "finished" and curves[seed]
        ]
        axes.plot([], [], label=_legend(arm, runs, finished, column), **style)
        band = _band(finished) if finished else None
        if band:
            x, low, mean, high = band
            axes.plot(x, mean, **style)
            if len(finished) > 1:
                axes.fill_between(x, low, high, color=style["color"], alpha=0.16, linewidth=0)
            if column == NOISE_SCALE:
                _mark_lower_bounds(axes, x, mean, runs, style)
            ends.append(x[-1])
            finals.append(mean[-1])
            drawn += 1
        for seed, run in runs.items():
            if run.status != "finished" and curves[seed]:
                _draw_unfinished(axes, curves[seed], style, run.status)
                ends.append(curves[seed][-1][1])
                drawn += 1
    if not drawn:
        return None
    if column == NOISE_SCALE:
        axes.set_yscale("log")
        plain_ticks(axes.yaxis)
    elif column.endswith("loss") and _spans_decades(axes):
        axes.set_yscale("log")
    elif metrics.of(column).is_share:
        limit_accuracy(axes, finals)
    if against == "updates" and max(ends) > 3 * min(ends):
        axes.set_xscale("log")
        bottom = axes.get_ylim()[0]
        axes.set_xlim(left=0.8 * min(x for x, y in points_of(axes) if y >= bottom))
    label_axes(axes, against, column)
    if column == NOISE_SCALE:
        axes.set_ylabel(f"{axes.get_ylabel()}\n▲ a lower bound in most runs")
    finish(figure, axes, title)
    return figure


def _legend(arm: str, runs: dict[int, RunFolder], finished, column: str) -> str:
    """The arm with its last value, spread and n: `original: 94.30 ± 0.12 (n=3, 1 diverged)`."""
    lasts = [curve[-1][2] for curve in finished]
    diverged = sum(run.status == "diverged" for run in runs.values())
    counts = f"n={len(lasts)}{f', {diverged} diverged' if diverged else ''}"
    if not lasts:
        return f"{arm} ({counts})"
    form = "{:.2f}" if metrics.of(column).is_share else "{:.3g}"
    form = "{:,.0f}" if column == NOISE_SCALE else form
    spread = f" ± {form.format(statistics.stdev(lasts))}" if len(lasts) > 1 else ""
    return f"{arm}: {form.format(statistics.fmean(lasts))}{spread} ({counts})"


def _mark_lower_bounds(axes, x, mean, runs: dict[int, RunFolder], style: dict[str, Any]) -> None:
    """Triangles where most finished runs could only say that the noise scale is no smaller."""
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
    """Points (epoch, x, y) of a run where both columns have values; accuracy in per cent.

    A history's `seconds` are the epoch's own, so the wall clock is their running sum.
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
    """Mean x, and y's mean with a standard deviation to each side, at the epochs of every curve.

    The band is cut at minimum and maximum: a loss stays positive, an accuracy below 1.

    None if they share no epoch.
    """
    import numpy as np

    by_epoch = [{epoch: (x, y) for epoch, x, y in curve} for curve in curves]
    shared = sorted(set.intersection(*(set(points) for points in by_epoch)))
    if not shared:
        return None
    x, y = np.array([[points[epoch] for epoch in shared] for points in by_epoch]).transpose(2, 0, 1)
    mean, deviation = y.mean(0), y.std(0, ddof=min(len(y) - 1, 1))
    return (
        x.mean(0),
        np.maximum(mean - deviation, y.min(0)),
        mean,
        np.minimum(mean + deviation, y.max(0)),
    )


def _spans_decades(axes) -> bool:
    values = [y for _, y in points_of(axes) if y > 0]
    return bool(values) and max(values) > 10 * min(values)
