"""The picture of the line between two solutions: loss and accuracy along it."""

import statistics
from typing import Any

from lbkeras import files
from lbkeras.errors import UserError

# Columns of a panel: training as a whole line, unseen examples dashed.
_PANELS = (("loss", "val_loss"), ("accuracy", "val_accuracy"))


def read_lines(workdir) -> list[dict[str, Any]]:
    """What `lbkeras replicate` wrote of the line between two arms, one entry a seed.

    Args:
        workdir: what `read_replication_folder` read.

    Raises:
        UserError: a file is malformed, or lacks a column.
    """
    lines = []
    for seed in workdir.replication["seeds"]:
        path = workdir.path / f"line_seed_{seed}.json"
        if not path.exists():
            continue
        line = files.read_json_object(path)
        if not isinstance(line.get("arms"), list) or len(line["arms"]) != 2:
            raise UserError(f"{path}: expected two 'arms', received {line.get('arms')!r}")
        for column in ("alpha", *_PANELS[0], *_PANELS[1]):
            values = line.get(column)
            if not isinstance(values, list) or len(values) != len(line["alpha"]):
                raise UserError(f"{path}: expected a value of {column!r} for each alpha")
        lines.append(line)
    return lines


def draw_line(panels, lines: list[dict[str, Any]], colors) -> None:
    """The means over seeds with a band from minimum to maximum, loss above accuracy.

    Args:
        panels: two axes of matplotlib; the first gets a logarithmic scale and the legend's lines.
        lines: what `read_lines` returns, at least one.
        colors: of training and of unseen examples.
    """
    start, end = lines[0]["arms"]
    alphas = lines[0]["alpha"]
    for axes, columns in zip(panels, _PANELS, strict=True):
        for column, color, dashes in zip(columns, colors, ("-", "--"), strict=True):
            factor = 100 if column.endswith("accuracy") else 1
            points = []
            for number, alpha in enumerate(alphas):
                values = [line[column][number] for line in lines]
                values = [factor * value for value in values if value is not None]
                if values:
                    points.append((alpha, min(values), statistics.fmean(values), max(values)))
            x, low, mean, high = zip(*points, strict=True) if points else [()] * 4
            where = "unseen" if column.startswith("val_") else "training"
            label = f"{where} examples, mean of n={len(lines)}"
            axes.plot(x, mean, color=color, linestyle=dashes, linewidth=1.8, label=label)
            if len(lines) > 1:
                axes.fill_between(x, low, high, color=color, alpha=0.16, linewidth=0)
        for alpha in (0, 1):
            axes.axvline(alpha, color="#888888", linewidth=0.8, zorder=1)
    panels[0].set_yscale("log")
    panels[0].set_ylabel("loss")
    panels[1].set_ylabel("accuracy (%)")
    panels[1].set_xlabel(f"α: {start} at 0, {end} at 1")
