import json

import numpy as np
import pytest
from matplotlib import colors, image

from lbkeras.replication import write_plots
from lbkeras.replication.plots.curves import draw_curves
from lbkeras.replication.plots.style import arm_style
from lbkeras.replication.replication_folder import read_replication_folder

NAMES = {
    "val_accuracy_against_epochs.png",
    "val_accuracy_against_updates.png",
    "val_accuracy_against_seconds.png",
    "loss_against_epochs.png",
    "schedule.png",
}


@pytest.mark.slow
def test_every_arm_is_in_every_picture(full_workdir):
    written = write_plots(full_workdir)
    assert {path.name for path in written} == NAMES
    assert {path.name for path in (full_workdir / "plots").iterdir()} == NAMES
    for path in written:
        pixels = image.imread(path)[..., :3]
        assert min(pixels.shape[:2]) > 400
        body = pixels[: int(0.85 * len(pixels))]  # without the legend
        for index in range(3):
            color = np.array(colors.to_rgb(arm_style(index, 3)["color"]))
            count = (np.abs(body - color).max(-1) < 0.02).sum()
            assert count > 100, (path.name, index, count)


def test_planned_schedules_are_drawn_before_any_run(make_workdir):
    workdir = make_workdir({"original": [None], "increase_batch": [None]})
    assert [path.name for path in write_plots(workdir)] == ["schedule.png"]


def test_diverged_runs_alone_are_drawn(make_workdir):
    workdir = make_workdir({"original": ["diverged"] * 2}, claims=[])
    assert {path.name for path in write_plots(workdir)} == NAMES


@pytest.mark.parametrize("count", [1, 4, 12])
def test_arms_differ_in_style(count):
    styles = [arm_style(index, count) for index in range(count)]
    assert len({(style["color"], style["linestyle"]) for style in styles}) == count


def test_a_diverged_epoch_without_values_is_left_out(make_workdir):
    workdir = make_workdir({"original": ["diverged"]}, claims=[])
    history = workdir / "original/seed_0/history.jsonl"
    last = '{"epoch": 13, "updates": 630, "loss": NaN, "val_accuracy": null, "seconds": 1}\n'
    history.write_text(history.read_text() + last)
    assert {path.name for path in write_plots(workdir)} == NAMES


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
    (axes,) = draw_curves(read_replication_folder(folder), "gradient_noise_scale", "epochs").axes
    entry, mean, bounds = axes.get_lines()
    assert entry.get_label() == "original: 120 ± 85 (n=2)"
    assert list(mean.get_ydata()) == [2.0 * epoch for epoch in range(1, 61)]
    assert list(bounds.get_xdata()) == [59, 60] and bounds.get_marker() == "^"
    assert axes.get_yscale() == "log"
