import json

import numpy as np
import pytest
from matplotlib import colors, image

from lbkeras.errors import UserError
from lbkeras.replication import write_plots, write_report
from lbkeras.replication.plots.style import arm_style

pytestmark = pytest.mark.usefixtures("no_curves")

NAME = "auto_wu_original_seed_0.png"


def content(**more):
    """A run of 14 epochs whose warm-up stopped after 6; two of its losses are not finite."""
    x = np.arange(600) / 100
    losses = 2.5 - 0.6 * x + 1.5 * np.maximum(x - 4, 0) ** 2
    epochs = np.linspace(0, 6, 100)
    rates = np.geomspace(1e-5, 0.8, 50).tolist() + np.linspace(0.01, 0, 50).tolist()
    return (
        dict(
            epochs=14,
            warmup_epochs=6,
            peak_learning_rate=0.01,
            decisions=[],
            learning_rate=dict(epoch=np.linspace(0, 14, 100).tolist(), value=rates),
            loss=dict(epoch=x.tolist(), value=[None, *losses[1:-1].tolist(), None]),
            posterior=dict(
                epoch=epochs.tolist(),
                mean=np.interp(epochs, x, losses).tolist(),
                deviation=[0.1] * 100,
            ),
        )
        | more
    )


def write(workdir, data):
    (workdir / "original/seed_0/auto_wu.json").write_text(json.dumps(data))


def pixels_of(picture):
    pixels = image.imread(picture)[..., :3]
    body = pixels[: int(0.8 * len(pixels))]  # without the legend
    wanted = [np.array(colors.to_rgb(arm_style(index, 3)["color"])) for index in range(3)]
    return [(np.abs(body - color).max(-1) < 0.05).sum() for color in wanted]


def test_losses_process_and_learning_rate_are_in_the_plot(full_workdir):
    write(full_workdir, content())
    write_report(full_workdir)
    assert [path.name for path in (full_workdir / "plots").glob("auto_wu*")] == [NAME]
    assert min(pixels_of(full_workdir / "plots" / NAME)) > 100
    assert f"plots/{NAME}" in (full_workdir / "report.md").read_text()


@pytest.mark.parametrize(
    "more",
    [
        dict(warmup_epochs=None, peak_learning_rate=None),
        dict(posterior=None, loss=dict(epoch=[], value=[])),
        dict(loss=dict(epoch=[0, 1], value=[None, None]), posterior=None),
        dict(restored_epoch=4),
    ],
    ids=["in the warm-up", "no loss", "no finite loss", "weights restored"],
)
def test_plots_whatever_the_file_holds(full_workdir, more):
    write(full_workdir, content(**more))
    assert full_workdir / "plots" / NAME in write_plots(full_workdir)


def test_a_file_that_lacks_something(full_workdir):
    data = content()
    del data["posterior"]
    write(full_workdir, data)
    with pytest.raises(UserError, match="auto_wu.json: expected 'posterior', received epochs"):
        write_plots(full_workdir)
