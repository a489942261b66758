"""Shared by all pictures of a replication: colors, labels, axes, legend.

Pictures are drawn with matplotlib's objects on the Agg canvas: no window, no global state.
"""

import textwrap
from collections.abc import Iterable
from typing import Any

from lbkeras import metrics
from lbkeras.runs.record import RunFolder

Arms = dict[str, dict[int, RunFolder]]  # the runs of each arm, by seed

# Okabe and Ito's colors, which color-blind readers can tell apart; without yellow (too light).
COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000")
_WIDE_LABEL = 42  # characters, too many for two columns
_APART, _MOST_TICKS = 1.25, 8
_DASHES = ("-", (0, (5, 1.6)), (0, (1.2, 1.2)), (0, (6, 1.5, 1.2, 1.5)), (0, (3, 1)))


def arm_style(index: int, count: int, widening: float = 0.8) -> dict[str, Any]:
    """Returns color, dashes and width of the line of arm `index` of `count`.

    Earlier arms are drawn below later ones and wider, by `widening` points each, so that lines that
    coincide stay visible.
    """
    return {
        "color": COLORS[index % len(COLORS)],
        "linestyle": _DASHES[index % len(_DASHES)],
        "linewidth": 1.6 + widening * min(count - 1 - index, 3),
        "zorder": 3.0 + index / max(count, 1),
    }


def new_figure(rows: int, height: float):
    """Returns a figure and its panels, one below the other."""
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
    """Labels the axes with the quantities `x` and `y`; an empty `x` gets no label."""
    if x:
        axes.set_xlabel(metrics.of(x).axis)
    if x == "epochs":
        from matplotlib.ticker import MaxNLocator

        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_ylabel(metrics.of(y).axis)


def finish(figure, axes, title: str | None, band: str = "", bar: str = "") -> None:
    """Adds the legend below the figure and the title above it.

    Args:
        figure, axes: the figure, and the panel whose lines the legend names.
        title: the figure's title.
        band, bar: what a band or a bar means; if not empty, an entry of the legend.
    """
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    handles, labels = axes.get_legend_handles_labels()
    if band:
        handles.append(Patch(color="#888888", alpha=0.3, linewidth=0))
        labels.append(band)
    if bar:
        handles.append(
            Line2D(
                [],
                [],
                color="#888888",
                marker="|",
                markersize=11,
                markeredgewidth=1.5,
                linestyle="",
            )
        )
        labels.append(bar)
    figure.legend(
        handles, labels, loc="outside lower center", frameon=False, handlelength=4.0, fontsize=9,
        ncols=min(len(labels), 2 if max(map(len, labels)) < _WIDE_LABEL else 1),
    )  # fmt: skip
    if title:
        figure.suptitle(textwrap.fill(str(title), 90), fontsize=11)
    if axes.get_xscale() == "log":
        plain_ticks(axes.xaxis)


def spread_note(counts: Iterable[int]) -> str:
    """Returns what a band or bar means, with n if all arms have the same; empty without spread."""
    counts = {count for count in counts if count}
    if max(counts, default=0) < 2:
        return ""
    n = f" (n={counts.pop()} seeds)" if len(counts) == 1 else ""
    return f"mean ± standard deviation{n}"


def ticks_at(axis, values: Iterable[float]) -> None:
    """Puts the ticks of a logarithmic axis at the values used, where they do not overlap."""
    kept = []
    for value in sorted(set(values)):
        if not kept or value > _APART * kept[-1]:
            kept.append(value)
    if len(kept) > _MOST_TICKS:
        plain_ticks(axis)
        return
    axis.set_ticks(kept, [_plain(value) for value in kept])
    axis.set_ticks([], minor=True)


def plain_ticks(axis) -> None:
    """Labels a logarithmic axis with plain numbers, at 1, 2 and 5 of a decade if they fit."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    low, high = axis.get_view_interval()
    axis.set_major_locator(LogLocator(subs=(1, 2, 5) if high < 300 * low else (1,), numticks=20))
    axis.set_major_formatter(FuncFormatter(lambda value, _: _plain(value)))
    axis.set_minor_formatter(NullFormatter())


def _plain(value: float) -> str:
    return f"{value:,.10f}".rstrip("0").rstrip(".")


def limit_accuracy(axes, shown: Iterable[float]) -> None:
    """Cuts off the steep start and diverged ends, to show the differences at the end.

    Args:
        axes: the panel.
        shown: values that must not be cut off.
    """
    values, shown = sorted(y for _, y in points_of(axes) if y <= 100), list(shown)
    bottom, top = min([*shown, values[len(values) // 5]]), max([*shown, values[-1]])
    room = 0.08 * max(top - bottom, 1.0)
    axes.set_ylim(max(bottom - room, 0), top + room)


def points_of(axes) -> list[tuple[float, float]]:
    """Returns the points of all lines."""
    return [point for line in axes.get_lines() for point in zip(*line.get_data(), strict=True)]
