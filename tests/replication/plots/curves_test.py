import json
import statistics

import pytest

from lbkeras.replication.plots.curves import draw_curves
from lbkeras.replication.replication_folder import read_replication_folder

CURVES = [
    *(("val_accuracy", against) for against in ("epochs", "updates", "seconds")),
    ("loss", "epochs"),
]


@pytest.mark.parametrize(("column", "against"), CURVES)
def test_diverged_runs_alone_are_drawn(make_workdir, column, against):
    """There is no mean of finished runs, and the last epoch has no values."""
    workdir = make_workdir({"original": ["diverged"] * 2}, claims=[])
    for seed in range(2):
        history = workdir / f"original/seed_{seed}/history.jsonl"
        last = '{"epoch": 13, "updates": 630, "loss": NaN, "val_accuracy": null, "seconds": 1}\n'
        history.write_text(history.read_text() + last)
    (axes,) = draw_curves(read_replication_folder(workdir).runs, column, against).axes
    _, *lines = axes.get_lines()
    assert [len(line.get_xdata()) for line in lines] == [13, 1, 13, 1]
    assert [line.get_marker() for line in lines] == ["None", "x", "None", "x"]
    for line, end in zip(lines[::2], lines[1::2], strict=True):
        assert (line.get_xdata()[-1], line.get_ydata()[-1]) == (*end.get_xdata(), *end.get_ydata())


def test_the_noise_scale_of_the_arms_that_measured_it(make_workdir):
    folder = make_workdir({"original": ["finished"] * 2, "increase_batch": ["finished"]}, claims=[])
    for seed, factor in ((0, 1.0), (1, 3.0)):
        path = folder / f"original/seed_{seed}/history.jsonl"
        rows = [json.loads(line) for line in path.read_text().splitlines()]
        for row in rows:
            scale = factor * (row["epoch"] + 1)
            error = scale if row["epoch"] >= 58 else 0.1 * scale
            row |= {"gradient_noise_scale": scale, "gradient_noise_scale_error": error}
        path.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    arms = read_replication_folder(folder).runs
    (axes,) = draw_curves(arms, "gradient_noise_scale", "epochs").axes
    entry, mean, bounds = axes.get_lines()
    (legend,) = axes.figure.legends
    assert [text.get_text() for text in legend.get_texts()] == [
        "original: 120 ± 85", "mean ± standard deviation (n=2 seeds)"
    ]  # fmt: skip
    assert entry.get_label() == "original: 120 ± 85"
    assert list(mean.get_ydata()) == [2.0 * epoch for epoch in range(1, 61)]
    assert list(bounds.get_xdata()) == [59, 60] and bounds.get_marker() == "^"
    assert axes.get_yscale() == "log"


def test_no_band_is_cut(make_workdir):
    """Neither at its own extremes nor by the axis, except at the start."""
    folder = make_workdir({arm: ["finished"] * 3 for arm in ("original", "increase_batch")})
    arms = read_replication_folder(folder).runs
    (axes,) = draw_curves(arms, "val_accuracy", "epochs").axes
    bottom, top = axes.get_ylim()
    for (arm, runs), band in zip(arms.items(), axes.collections, strict=True):
        lasts = [100 * run.history[-1]["val_accuracy"] for run in runs.values()]
        x, y = band.get_paths()[0].vertices.T
        low, high = sorted({value for at, value in zip(x, y, strict=True) if at == x.max()})
        mean, deviation = statistics.fmean(lasts), statistics.stdev(lasts)
        assert (low, high) == pytest.approx((mean - deviation, mean + deviation)), arm
        assert bottom < low and y.max() < top
