"""Pictures of a replication: all arms in each, drawn from the histories and plans.

Drawn with matplotlib's objects on the Agg canvas: no window, no global state.
"""

import io
import statistics
import textwrap
from pathlib import Path
from typing import Any

from lbkeras import files
from lbkeras.methods.auto_wu.plot import draw_auto_wu, read_auto_wu
from lbkeras.metrics import NOISE_SCALE, noise_scale_is_lower_bound
from lbkeras.replication.plots.linear_interpolation import draw_line, read_lines
from lbkeras.replication.plots.sweep import draw_sweep, sweeps
from lbkeras.replication.replication_folder import read_replication_folder
from lbkeras.runs.record import RunFolder

# Okabe and Ito's colours, which colour-blind readers can tell apart; yellow left out (too light).
_COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000")
_DASHES = ("-", (0, (5, 1.6)), (0, (1.2, 1.2)), (0, (6, 1.5, 1.2, 1.5)), (0, (3, 1)))
_LABELS = {
    "val_accuracy": "accuracy on unseen examples (%)",
    "accuracy": "training accuracy (%)",
    "val_loss": "loss on unseen examples",
    "loss": "training loss",
    "epochs": "epochs",
    "updates": "parameter updates",
    "seconds": "wall clock (s, training)",
    "batch_size": "batch size (examples)",
    "learning_rate": "learning rate",
    "noise_scale": "noise scale ε·N/(B·(1−m))",
    NOISE_SCALE: "gradient noise scale (examples)\n▲ a lower bound in most runs",
}


def write_plots(workdir) -> list[Path]:
    """Writes plots/*.png in a replication's folder, each atomically.

    `METRIC_against_epochs.png`, `METRIC_against_updates.png` (logarithmic where arms differ much),
    `METRIC_against_seconds.png`, `loss_against_epochs.png`: the mean over an arm's finished seeds
    with a band of a standard deviation to each side, cut at the extremes; runs that did not finish
    are thin lines, a diverged one ends in a cross; the legend gives the last value, mean ± standard
    deviation.
    `gradient_noise_scale_against_epochs.png`, of the arms that measured it: the same, logarithmic;
    triangles where most runs have only a lower bound.
    `schedule.png`: batch size, learning rate and noise scale against epochs.
    `METRIC_against_batch_size.png` or `METRIC_against_learning_rate.png`, where the arms' names end
    in that number (`lars_4096`, `sgd_32_rate_0_01`): the last value, mean ± standard deviation.
    `line.png`, where `line_seed_N.json` are: loss and accuracy on the line between two arms.
    `auto_wu_ARM_seed_N.png`, for a run with AutoWU: losses, its Gaussian process, learning rate.

    Args:
        workdir: the folder, or what `read_replication_folder` read from it.

    Returns:
        The files written; a picture with nothing to draw is left out.

    Raises:
        UserError: a file of the workdir is missing or malformed.
    """
    if isinstance(workdir, (str, Path)):
        workdir = read_replication_folder(workdir)
    metric = workdir.replication.get("metric", "val_accuracy")
    folder = workdir.path / "plots"
    written = []
    pictures = [
        (f"{metric}_against_epochs", lambda: _draw_curves(workdir, metric, "epochs")),
        (f"{metric}_against_updates", lambda: _draw_curves(workdir, metric, "updates")),
        (f"{metric}_against_seconds", lambda: _draw_curves(workdir, metric, "seconds")),
        ("loss_against_epochs", lambda: _draw_curves(workdir, "loss", "epochs")),
        (f"{NOISE_SCALE}_against_epochs", lambda: _draw_curves(workdir, NOISE_SCALE, "epochs")),
        ("schedule", lambda: _draw_schedule(workdir)),
    ]
    for quantity, groups in sweeps(workdir, metric).items():
        pictures.append(
            (
                f"{metric}_against_{quantity}",
                lambda q=quantity, g=groups: _draw_sweep(workdir, metric, q, g),
            )
        )
    pictures.append(("line", lambda: _draw_line(workdir)))
    for arm, runs in workdir.runs.items():
        for seed, run in runs.items():
            pictures.append((f"auto_wu_{arm}_seed_{seed}", lambda r=run: _draw_auto_wu(workdir, r)))
    for name, draw in pictures:
        figure = draw()
        if figure is None:
            continue
        folder.mkdir(parents=True, exist_ok=True)
        content = io.BytesIO()
        figure.savefig(content, format="png", dpi=150, metadata={"Software": None})
        files.write_atomically(folder / f"{name}.png", content.getvalue())
        written.append(folder / f"{name}.png")
    return written


def arm_style(index: int, count: int, widening: float = 0.8) -> dict[str, Any]:
    """Colour, dashes and width of the arm at `index` of `count`.

    Earlier arms are drawn below and wider, by `widening` points each, so that lines that coincide
    stay visible.
    """
    return {
        "color": _COLORS[index % len(_COLORS)],
        "linestyle": _DASHES[index % len(_DASHES)],
        "linewidth": 1.6 + widening * min(count - 1 - index, 3),
        "zorder": 3.0 + index / max(count, 1),
    }


def _draw_curves(workdir, column: str, against: str):
    """The figure of `column` against epochs, updates or seconds, or None without data."""
    figure, (axes,) = _figure(1, height=4.3)
    drawn, ends, finals = 0, [], []
    for index, (arm, runs) in enumerate(workdir.runs.items()):
        style = arm_style(index, len(workdir.runs))
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
        _plain_ticks(axes.yaxis)
    elif column.endswith("loss") and _spans_decades(axes):
        axes.set_yscale("log")
    elif column.endswith("accuracy"):
        _limit_accuracy(axes, finals)
    if against == "updates" and max(ends) > 3 * min(ends):
        axes.set_xscale("log")
        bottom = axes.get_ylim()[0]
        axes.set_xlim(left=0.8 * min(x for x, y in _points(axes) if y >= bottom))
    _label(axes, against, column)
    _finish(figure, axes, workdir)
    return figure


def _legend(arm: str, runs: dict[int, RunFolder], finished, column: str) -> str:
    """The arm with its last value, spread and n: `original: 94.30 ± 0.12 (n=3, 1 diverged)`."""
    lasts = [curve[-1][2] for curve in finished]
    diverged = sum(run.status == "diverged" for run in runs.values())
    counts = f"n={len(lasts)}{f', {diverged} diverged' if diverged else ''}"
    if not lasts:
        return f"{arm} ({counts})"
    form = "{:.2f}" if column.endswith("accuracy") else "{:.3g}"
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


def _draw_schedule(workdir):
    """Three panels against epochs, from the first run's history or else the plan."""
    columns = ("batch_size", "learning_rate", "noise_scale")
    figure, panels = _figure(3, height=7.2)
    drawn = 0
    for index, (arm, runs) in enumerate(workdir.runs.items()):
        style = arm_style(index, len(workdir.runs), widening=1.4)
        history = next((run.history for run in runs.values() if run.status == "finished"), None)
        plan = (workdir.replication.get("plans") or {}).get(arm) or {}
        steps = _history_steps(history) if history else _plan_steps(plan)
        panels[0].plot([], [], label=arm if history else f"{arm} (planned)", **style)
        for axes, column in zip(panels, columns, strict=True):
            points = [(start, end, row[column]) for start, end, row in steps if row.get(column)]
            if points:
                x = [point for start, end, _ in points for point in (start, end)]
                y = [value for _, _, value in points for _ in range(2)]
                axes.plot(x, y, **style, solid_joinstyle="miter", solid_capstyle="butt")
                drawn += 1
    if not drawn:
        return None
    for axes, column in zip(panels, columns, strict=True):
        axes.set_yscale("log")
        _limit_decades(axes)
        _plain_ticks(axes.yaxis)
        _label(axes, "epochs" if axes is panels[-1] else "", column)
    _finish(figure, panels[0], workdir)
    return figure


def _draw_sweep(workdir, column: str, quantity: str, groups):
    """The figure of `column`'s last values against what the arms vary."""
    figure, (axes,) = _figure(1, height=4.3)
    draw_sweep(axes, groups, lambda *place: arm_style(*place, widening=0.0))
    if column.endswith("accuracy"):
        if quantity == "learning_rate":  # too high ones fail: the best are the point
            shown = [max(mean for _, mean, _, _ in points) for points in groups.values()]
        else:
            shown = [mean - sd for points in groups.values() for _, mean, sd, _ in points]
        _limit_accuracy(axes, shown)
    _label(axes, quantity, column)
    _finish(figure, axes, workdir)
    if quantity == "batch_size":
        sizes = sorted({point[0] for points in groups.values() for point in points})
        axes.set_xticks(sizes, [f"{size:,.0f}" for size in sizes])
        axes.set_xticks([], minor=True)
    return figure


def _draw_line(workdir):
    """The figure of the line between two arms' solutions, or None without data."""
    lines = read_lines(workdir)
    if not lines:
        return None
    figure, panels = _figure(2, height=6.0)
    draw_line(panels, lines, _COLORS[:2])
    _finish(figure, panels[0], workdir)
    return figure


def _draw_auto_wu(workdir, run: RunFolder):
    """The figure of what AutoWU saw and did in a run, or None for a run without it."""
    content = read_auto_wu(run)
    if content is None:
        return None
    figure, (axes,) = _figure(1, height=4.3)
    draw_auto_wu(axes, content, run.history, _COLORS[:3])
    _finish(figure, axes, workdir)
    return figure


def _curve(run: RunFolder, column: str, against: str) -> list[tuple[int, float, float]]:
    """Points (epoch, x, y) of a run where both columns have values; accuracy in per cent.

    A history's `seconds` are the epoch's own, so the wall clock is their running sum.
    """
    points, seconds = [], 0.0
    factor = 100 if column.endswith("accuracy") else 1
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


def _history_steps(history):
    return [(row.get("epoch", i), row.get("epoch", i) + 1, row) for i, row in enumerate(history)]


def _plan_steps(plan: dict[str, Any]):
    return [
        (phase["first_epoch"], phase["first_epoch"] + phase["epochs"], phase)
        for phase in plan.get("phases") or []
    ]


def _figure(rows: int, height: float):
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


def _label(axes, x: str, y: str) -> None:
    if x:
        axes.set_xlabel(_LABELS.get(x, x))
    if x == "epochs":
        from matplotlib.ticker import MaxNLocator

        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_ylabel(_LABELS.get(y, y.replace("_", " ")))


def _finish(figure, axes, workdir) -> None:
    handles, labels = axes.get_legend_handles_labels()
    figure.legend(
        handles, labels, loc="outside lower center", ncols=min(len(labels), 2), frameon=False,
        handlelength=4.5, fontsize=9,
    )  # fmt: skip
    title = workdir.replication.get("title")
    if title:
        figure.suptitle(textwrap.fill(str(title), 80), fontsize=11)
    if axes.get_xscale() == "log":
        _plain_ticks(axes.xaxis)


def _plain_ticks(axis) -> None:
    """Numbers such as 2,000 on a logarithmic axis, at 1, 2 and 5 of a decade where they fit."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    low, high = axis.get_view_interval()
    axis.set_major_locator(LogLocator(subs=(1, 2, 5) if high < 300 * low else (1,), numticks=20))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.10g}"))
    axis.set_minor_formatter(NullFormatter())


def _limit_decades(axes) -> None:
    """Four decades below the highest: what a decay to zero ends at is no news."""
    highest = max((y for _, y in _points(axes)), default=0.0)
    bottom, top = axes.get_ylim()
    if highest > 0:
        axes.set_ylim(max(bottom, 1e-4 * highest), top)


def _points(axes) -> list[tuple[float, float]]:
    return [point for line in axes.get_lines() for point in zip(*line.get_data(), strict=True)]


def _spans_decades(axes) -> bool:
    values = [y for _, y in _points(axes) if y > 0]
    return bool(values) and max(values) > 10 * min(values)


def _limit_accuracy(axes, finals: list[float]) -> None:
    """Cuts off the steep start, and diverged ends: the differences at the end are the point."""
    values = sorted(y for _, y in _points(axes))
    bottom = min([*finals, values[len(values) // 5]])
    room = max(values[-1] - bottom, 1.0)
    axes.set_ylim(max(bottom - 0.1 * room, 0), min(values[-1] + 0.1 * room, 100.5))
