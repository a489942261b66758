import numpy as np
import pytest
from matplotlib import colors, image

from lbkeras.replication import write_plots
from lbkeras.replication.plots.style import arm_style

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
