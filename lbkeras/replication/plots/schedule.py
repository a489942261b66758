"""Draws batch size, learning rate and noise scale against epochs."""

from typing import Any

from lbkeras.replication.plots.style import (
    Arms,
    arm_style,
    finish,
    label_axes,
    new_figure,
    plain_ticks,
    points_of,
    ticks_at,
)


def draw_schedule(arms: Arms, plans: dict[str, Any], title: str | None = None):
    """Draws three panels against epochs, from the first finished run of an arm, else its plan."""
    columns = ("batch_size", "learning_rate", "noise_scale")
    figure, panels = new_figure(3, height=7.2)
    drawn = 0
    for index, (arm, runs) in enumerate(arms.items()):
        style = arm_style(index, len(arms), widening=1.4)
        history = next((run.history for run in runs.values() if run.status == "finished"), None)
        plan = plans.get(arm) or {}
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
        plain_ticks(axes.yaxis)
        if column == "batch_size":
            ticks_at(axes.yaxis, (y for _, y in points_of(axes)))
        label_axes(axes, "epochs" if axes is panels[-1] else "", column)
    finish(figure, panels[0], title)
    return figure


def _history_steps(history):
    return [(row.get("epoch", i), row.get("epoch", i) + 1, row) for i, row in enumerate(history)]


def _plan_steps(plan: dict[str, Any]):
    return [
        (phase["first_epoch"], phase["first_epoch"] + phase["epochs"], phase)
        for phase in plan.get("phases") or []
    ]


def _limit_decades(axes) -> None:
    """Limits the y axis to four decades, as the last values of a decay to zero do not matter."""
    highest = max((y for _, y in points_of(axes)), default=0.0)
    bottom, top = axes.get_ylim()
    if highest > 0:
        axes.set_ylim(max(bottom, 1e-4 * highest), top)
