"""Draws the loss and a metric along the line between two trained models."""

import statistics
from typing import Any

from lbkeras import metrics
from lbkeras.replication.plots.style import (
    COLORS,
    finish,
    new_figure,
    plain_ticks,
    spread_note,
)


def draw_line(lines: list[dict[str, Any]], title: str | None = None):
    """Draws means over seeds with bands of ± one standard deviation: the loss, below it a metric.

    Args:
        lines: what `ReplicationFolder.lines` returns; the first metric in it is drawn. Without any
            line there is no figure, and None is returned.
        title: the figure's title.
    """
    if not lines:
        return None
    others = [name for name in lines[0] if f"{metrics.VALIDATION}{name}" in lines[0]]
    names = ["loss", *(name for name in others if name != "loss")][:2]
    figure, panels = new_figure(len(names), height=3.0 * len(names))
    start, end = lines[0]["arms"]
    alphas = lines[0]["alpha"]
    for axes, name in zip(panels, names, strict=True):
        columns = (name, metrics.VALIDATION + name)
        for column, color, dashes in zip(columns, COLORS[:2], ("-", "--"), strict=True):
            factor = metrics.of(column).factor
            points = []
            for number, alpha in enumerate(alphas):
                values = [line[column][number] for line in lines]
                values = [factor * value for value in values if value is not None]
                if values:
                    mean = statistics.fmean(values)
                    deviation = statistics.stdev(values) if len(values) > 1 else 0.0
                    low = mean - deviation if mean > deviation else min(values)  # for a log axis
                    points.append((alpha, low, mean, mean + deviation))
            x, low, mean, high = zip(*points, strict=True) if points else [()] * 4
            where = "test" if column.startswith(metrics.VALIDATION) else "training"
            label = f"{where} examples"
            axes.plot(x, mean, color=color, linestyle=dashes, linewidth=1.8, label=label)
            if len(lines) > 1:
                axes.fill_between(x, low, high, color=color, alpha=0.16, linewidth=0)
        for alpha in (0, 1):
            axes.axvline(alpha, color="#888888", linewidth=0.8, zorder=1)
    panels[0].set_yscale("log")
    for axes, name in zip(panels, names, strict=True):
        metric = metrics.of(name)
        axes.set_ylabel(name + (f" ({metric.unit})" if metric.unit else ""))
    plain_ticks(panels[0].yaxis)
    panels[-1].set_xlabel(f"α: {start} at 0, {end} at 1")
    finish(figure, panels[0], title, band=spread_note([len(lines)]))
    return figure
