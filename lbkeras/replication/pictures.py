"""Pictures of a replication: all arms in each, drawn from the histories and plans."""

import io
from pathlib import Path

from lbkeras import files
from lbkeras.methods.auto_wu.plot import draw_auto_wu, read_auto_wu
from lbkeras.metrics import NOISE_SCALE
from lbkeras.replication.plots.curves import draw_curves
from lbkeras.replication.plots.linear_interpolation import draw_line, read_lines
from lbkeras.replication.plots.schedule import draw_schedule
from lbkeras.replication.plots.style import (
    COLORS,
    arm_style,
    finish,
    label_axes,
    limit_accuracy,
    new_figure,
)
from lbkeras.replication.plots.sweep import draw_sweep, sweeps
from lbkeras.replication.replication_folder import read_replication_folder
from lbkeras.runs.record import RunFolder


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
        (f"{metric}_against_epochs", lambda: draw_curves(workdir, metric, "epochs")),
        (f"{metric}_against_updates", lambda: draw_curves(workdir, metric, "updates")),
        (f"{metric}_against_seconds", lambda: draw_curves(workdir, metric, "seconds")),
        ("loss_against_epochs", lambda: draw_curves(workdir, "loss", "epochs")),
        (f"{NOISE_SCALE}_against_epochs", lambda: draw_curves(workdir, NOISE_SCALE, "epochs")),
        ("schedule", lambda: draw_schedule(workdir)),
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


def _draw_sweep(workdir, column: str, quantity: str, groups):
    """The figure of `column`'s last values against what the arms vary."""
    figure, (axes,) = new_figure(1, height=4.3)
    draw_sweep(axes, groups, lambda *place: arm_style(*place, widening=0.0))
    if column.endswith("accuracy"):
        if quantity == "learning_rate":  # too high ones fail: the best are the point
            shown = [max(mean for _, mean, _, _ in points) for points in groups.values()]
        else:
            shown = [mean - sd for points in groups.values() for _, mean, sd, _ in points]
        limit_accuracy(axes, shown)
    label_axes(axes, quantity, column)
    finish(figure, axes, workdir)
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
    figure, panels = new_figure(2, height=6.0)
    draw_line(panels, lines, COLORS[:2])
    finish(figure, panels[0], workdir)
    return figure


def _draw_auto_wu(workdir, run: RunFolder):
    """The figure of what AutoWU saw and did in a run, or None for a run without it."""
    content = read_auto_wu(run)
    if content is None:
        return None
    figure, (axes,) = new_figure(1, height=4.3)
    draw_auto_wu(axes, content, run.history, COLORS[:3])
    finish(figure, axes, workdir)
    return figure
