import numpy as np
import pytest
from matplotlib import colors, image

from lbkeras.errors import UserError
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


@pytest.mark.parametrize("form, first", [("pdf", b"%PDF"), ("svg", b"<?xml")])
def test_another_format_is_written_beside_the_png(make_workdir, form, first):
    workdir = make_workdir({"original": [None]}, claims=[])
    (written,) = write_plots(workdir, form)
    assert {path.name for path in written.parent.iterdir()} == {"schedule.png", f"schedule.{form}"}
    content = written.with_suffix(f".{form}").read_bytes()
    assert content.startswith(first)
    write_plots(workdir, form)
    assert written.with_suffix(f".{form}").read_bytes() == content


def test_an_unknown_format_is_refused(make_workdir):
    with pytest.raises(UserError, match="^plot_format: expected one of 'png', 'pdf', "):
        write_plots(make_workdir({"original": [None]}, claims=[]), "gif")


def test_planned_schedules_are_drawn_before_any_run(make_workdir):
    workdir = make_workdir({"original": [None], "increase_batch": [None]})
    assert [path.name for path in write_plots(workdir)] == ["schedule.png"]
