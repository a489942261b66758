"""What all pictures of a replication share: colours, labels, axes, legend.

Drawn with matplotlib's objects on the Agg canvas: no window, no global state.
"""

import textwrap
from typing import Any

from lbkeras import metrics
from lbkeras.runs.record import RunFolder

Arms = dict[str, dict[int, RunFolder]]  # the runs of each arm, by seed

# Okabe and Ito's colours, which colour-blind readers can tell apart; yellow left out (too light).
COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000")
_DASHES = ("-", (0, (5, 1.6)), (0, (1.2, 1.2)), (0, (6, 1.5, 1.2, 1.5)), (0, (3, 1)))


def arm_style(index: int, count: int, widening: float = 0.8) -> dict[str, Any]:
    """Colour, dashes and width of the arm at `index` of `count`.

    Earlier arms are drawn below and wider, by `widening` points each, so that lines that coincide
    stay visible.
    """
    return {
        "color": COLORS[index % len(COLORS)],
        "linestyle": _DASHES[index % len(_DASHES)],
        "linewidth": 1.6 + widening * min(count - 1 - index, 3),
        "zorder": 3.0 + index / max(count, 1),
    }


def new_figure(rows: int, height: float):
    """A figure and its panels, one below the other."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.2, height), layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(rows, 1, sharex=True, squeeze=False)[:, 0]
    for axes in panels:
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(True, which="major", color="#dddddd", linewidth=0.6)
        axes.set_axisbelow(True)
    return figure, panels


def label_axes(axes, x: str, y: str) -> None:
    """Names what is on the axes; the x axis of a panel above another has no label: ''."""
    if x:
        axes.set_xlabel(metrics.of(x).axis)
    if x == "epochs":
        from matplotlib.ticker import MaxNLocator

        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_ylabel(metrics.of(y).axis)


def finish(figure, axes, title: str | None) -> None:
    """Adds the legend of what is in `axes` below, and the title above."""
    handles, labels = axes.get_legend_handles_labels()
    figure.legend(
        handles, labels, loc="outside lower center", ncols=min(len(labels), 2), frameon=False,
        handlelength=4.5, fontsize=9,
    )  # fmt: skip
    if title:
        figure.suptitle(textwrap.fill(str(title), 80), fontsize=11)
    if axes.get_xscale() == "log":
        plain_ticks(axes.xaxis)


def plain_ticks(axis) -> None:
    """Numbers such as 2,000 on a logarithmic axis, at 1, 2 and 5 of a decade where they fit."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    low, high = axis.get_view_interval()
    axis.set_major_locator(LogLocator(subs=(1, 2, 5) if high < 300 * low else (1,), numticks=20))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.10g}"))
    axis.set_minor_formatter(NullFormatter())


def limit_accuracy(axes, finals: list[float]) -> None:
    """Cuts off the steep start, and diverged ends: the differences at the end are the point."""
    values = sorted(y for _, y in points_of(axes))
    bottom = min([*finals, values[len(values) // 5]])
    room = max(values[-1] - bottom, 1.0)
    axes.set_ylim(max(bottom - 0.1 * room, 0), min(values[-1] + 0.1 * room, 100.5))


def points_of(axes) -> list[tuple[float, float]]:
    """The points of all lines."""
    return [point for line in axes.get_lines() for point in zip(*line.get_data(), strict=True)]
