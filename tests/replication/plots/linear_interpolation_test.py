import json

import pytest

from lbkeras.errors import UserError
from lbkeras.replication import build_report, write_plots, write_report
from lbkeras.replication.plots.linear_interpolation import draw_line, read_lines
from lbkeras.replication.replication_folder import read_replication_folder

pytestmark = pytest.mark.usefixtures("no_curves")

COLUMNS = ("loss", "accuracy", "val_loss", "val_accuracy")


@pytest.fixture
def workdir(make_workdir):
    """Two arms of three seeds; lines of the first two."""
    folder = make_workdir({arm: ["finished"] * 3 for arm in ("small", "large")}, claims=[])
    for seed in (0, 1):
        line = {"arms": ["small", "large"], "alpha": [-1.0, 0.0, 1.0]}
        line |= {name: [0.2 + 0.1 * seed, 0.1, None if seed else 0.5] for name in COLUMNS}
        (folder / f"line_seed_{seed}.json").write_text(json.dumps(line))
    return folder


def test_the_curve_is_the_mean_over_seeds(workdir):
    from matplotlib.figure import Figure

    panels = Figure().subplots(2, 1)
    draw_line(panels, read_lines(read_replication_folder(workdir)), ("red", "blue"))
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


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"arms": ["a"]}', "expected two 'arms'"),
        ('{"arms": ["a", "b"]}', "expected a value of 'alpha' for each alpha"),
        ('{"arms": ["a", "b"], "alpha": [0], "loss": []}', "expected a value of 'loss'"),
        ("{", "line 1"),
    ],
)
def test_a_damaged_file_is_named(workdir, text, message):
    (workdir / "line_seed_1.json").write_text(text)
    with pytest.raises(UserError, match=f"line_seed_1.json.*{message}"):
        write_plots(workdir)


def test_what_callbacks_measured_is_in_the_report(workdir):
    for arm, values in (("small", (1.0, 3.0, None)), ("large", (10.0, 10.0, 40.0))):
        for seed, value in enumerate(values):
            path = workdir / arm / f"seed_{seed}" / "record.json"
            record = json.loads(path.read_text())
            record["final"] |= {"sharpness": value, "sharpness_5e-4": 0.5}
            path.write_text(json.dumps(record))
    measured = build_report(workdir)["arms"]["small"]["measured"]
    assert measured["sharpness"]["values"] == [1.0, 3.0]
    write_report(workdir)
    text = (workdir / "report.md").read_text()
    assert "| arm | ours: sharpness | ours: sharpness_5e-4 |" in text
    assert "| `small` | 2 ± 1.414 | 0.5 ± 0 |" in text
    assert "| `large` | 20 ± 17.32 | 0.5 ± 0 |" in text


def test_the_noise_scale_is_in_the_report_with_its_lower_bounds(workdir):
    for seed, (value, error) in enumerate(((30.0, 4.0), (50.0, 50.0), (70.0, 70.0))):
        path = workdir / "small" / f"seed_{seed}" / "record.json"
        record = json.loads(path.read_text())
        noise = {"gradient_noise_scale": value, "gradient_noise_scale_error": error}
        record["final"] |= noise | {"gradient_variance": 1.0}
        path.write_text(json.dumps(record))
    write_report(workdir)
    text = (workdir / "report.md").read_text()
    assert "| arm | ours: gradient_noise_scale |\n" in text
    assert "| `small` | 50 ± 20 (2 of 3 are lower bounds) |" in text
    assert "| `large` | – |" in text


def test_without_measurements_there_is_no_table(workdir):
    write_report(workdir)
    assert "Measured at the end" not in (workdir / "report.md").read_text()
