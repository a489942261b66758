"""Draws the pictures of a replication, each with all arms, from the histories and plans."""

import io
from collections.abc import Callable
from functools import partial
from pathlib import Path

from lbkeras import checks, files
from lbkeras.derived import column_of
from lbkeras.methods.auto_wu.plot import draw_auto_wu, read_auto_wu
from lbkeras.metrics import NOISE_SCALE
from lbkeras.replication.plots.curves import draw_curves
from lbkeras.replication.plots.linear_interpolation import draw_line
from lbkeras.replication.plots.schedule import draw_schedule
from lbkeras.replication.plots.style import COLORS, finish, new_figure
from lbkeras.replication.plots.sweep import draw_sweep, sweeps
from lbkeras.replication.replication_folder import ReplicationFolder, read_replication_folder
from lbkeras.runs.record import RunFolder

FORMATS = ("png", "pdf", "svg")
# Settings with which the same picture has the same bytes.
_METADATA = {"png": {"Software": None}, "pdf": {"CreationDate": None}, "svg": {"Date": None}}


def write_plots(workdir: Path | str | ReplicationFolder, plot_format: str = "png") -> list[Path]:
    """Writes plots/*.png in a replication's folder, each file atomically.

    - `METRIC_against_epochs.png`, `METRIC_against_updates.png` (logarithmic if arms differ much),
      `METRIC_against_seconds.png` and `loss_against_epochs.png`: the mean over an arm's finished
      seeds, with a band of ± one standard deviation. Runs that did not finish are thin lines; that
      of a diverged run ends in a cross. The legend has the last value, mean ± standard deviation.
    - `gradient_noise_scale_against_epochs.png`, for the arms that measured it: the same, on a
      logarithmic axis; triangles mark epochs where most runs have only a lower bound.
    - `schedule.png`: batch size, learning rate and noise scale against epochs.
    - `METRIC_against_batch_size.png` or `METRIC_against_learning_rate.png`, if the arms' names end
      in that number (`lars_4096`, `sgd_32_rate_0_01`): the last value, mean ± standard deviation.
    - `line.png`, if there are `line_seed_N.json` files: the loss and the first other metric on the
      line between two arms.
    - `auto_wu_ARM_seed_N.png`, for each run with AutoWU: losses, its Gaussian process and the
      learning rate.

    Args:
        workdir: the folder, or what `read_replication_folder` read from it.
        plot_format: `"png"`; or `"pdf"` or `"svg"`, to write these in addition to the png.

    Returns:
        The png files written; a picture with nothing to draw is left out.

    Raises:
        UserError: a file of the workdir is missing or malformed, or the format is unknown.
    """
    formats = dict.fromkeys(("png", checks.choice("plot_format", plot_format, FORMATS)))
    from matplotlib import rc_context

    if isinstance(workdir, Path | str):
        workdir = read_replication_folder(workdir)
    arms, title = workdir.runs, workdir.replication.get("title")
    metric = workdir.replication.get("metric", "val_accuracy")
    plans = workdir.replication.get("plans") or {}
    folder = workdir.path / "plots"
    written = []
    curves = [(column_of(metric), against) for against in ("epochs", "updates", "seconds")]
    curves += [("loss", "epochs"), (NOISE_SCALE, "epochs")]
    pictures: list[tuple[str, Callable]] = [
        (f"{column}_against_{against}", partial(draw_curves, arms, column, against))
        for column, against in curves
    ]
    pictures.append(("schedule", partial(draw_schedule, arms, plans)))
    for quantity, groups in sweeps(arms, metric).items():
        name = f"{metric}_against_{quantity}"
        pictures.append((name, partial(draw_sweep, groups, metric, quantity)))
    pictures.append(("line", lambda title: draw_line(workdir.lines(), title)))
    for arm, runs in arms.items():
        for seed, run in runs.items():
            pictures.append((f"auto_wu_{arm}_seed_{seed}", partial(_draw_auto_wu, run)))
    for name, draw in pictures:
        figure = draw(title)
        if figure is None:
            continue
        folder.mkdir(parents=True, exist_ok=True)
        for form in formats:
            content = io.BytesIO()
            with rc_context({"svg.hashsalt": "lbkeras"}):
                figure.savefig(content, format=form, dpi=150, metadata=_METADATA[form])
            files.write_atomically(folder / f"{name}.{form}", content.getvalue())
        written.append(folder / f"{name}.png")
    return written


def _draw_auto_wu(run: RunFolder, title: str | None):
    """Draws what AutoWU saw and did in a run; returns None for a run without AutoWU."""
    content = read_auto_wu(run)
    if content is None:
        return None
    figure, (axes,) = new_figure(1, height=4.3)
    draw_auto_wu(axes, content, run.history, COLORS[:3])
    finish(figure, axes, title)
    return figure
