import json

import pytest

from lbkeras.replication import write_plots, write_report
from lbkeras.replication.plots.linear_interpolation import draw_line
from lbkeras.replication.replication_folder import read_replication_folder

pytestmark = pytest.mark.usefixtures("no_curves")

COLUMNS = ("loss", "accuracy", "val_loss", "val_accuracy")


@pytest.fixture
def workdir(make_workdir):
    """Two arms of three seeds; lines for the first two seeds."""
    folder = make_workdir({arm: ["finished"] * 3 for arm in ("small", "large")}, claims=[])
    for seed in (0, 1):
        line = {"arms": ["small", "large"], "alpha": [-1.0, 0.0, 1.0]}
        line |= {name: [0.2 + 0.1 * seed, 0.1, None if seed else 0.5] for name in COLUMNS}
        (folder / f"line_seed_{seed}.json").write_text(json.dumps(line))
    return folder


def test_the_curve_is_the_mean_over_seeds(workdir):
    panels = draw_line(read_replication_folder(workdir).lines()).axes
    for axes, factor in zip(panels, (1, 100), strict=True):
        training, unseen = axes.get_lines()[:2]
        for curve in (training, unseen):
            assert list(curve.get_xdata()) == [-1.0, 0.0, 1.0]
            expected = [0.25 * factor, 0.1 * factor, 0.5 * factor]
            assert list(curve.get_ydata()) == pytest.approx(expected)
    assert panels[1].get_xlabel() == "α: small at 0, large at 1"


def test_the_report_shows_the_picture(workdir):
    write_report(workdir)
    assert (workdir / "plots/line.png").stat().st_size > 10_000
    assert "![line](plots/line.png)" in (workdir / "report.md").read_text()


def test_no_picture_without_lines(workdir):
    for path in workdir.glob("line*"):
        path.unlink()
    assert "line.png" not in {path.name for path in write_plots(workdir)}
