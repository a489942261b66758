"""Progress as a real notebook stores it (release: starts a kernel; needs nbclient, ipykernel)."""

import pytest

CELL = """
import numpy as np, keras
from lbkeras.callbacks import BatchSizeScheduler, ProgressBar, progress_bar
from lbkeras.data import Pipeline
progress_bar._SECONDS_BETWEEN_DRAWINGS = -1.0
x = np.zeros((64, 4), "float32")
train, model = Pipeline((x, x), 8), keras.Sequential([keras.layers.Dense(4)])
model.compile("sgd", "mse")
sizes = BatchSizeScheduler(train, lambda epoch, size: (8, 16)[epoch], verbose=1)
model.fit(train, epochs=2, callbacks=[sizes, ProgressBar(train, seconds_between_lines={})])
print("end")
"""


def outputs_of(seconds_between_lines):
    nbformat, nbclient = pytest.importorskip("nbformat"), pytest.importorskip("nbclient")
    pytest.importorskip("ipykernel")
    cell = nbformat.v4.new_code_cell(CELL.format(seconds_between_lines))
    notebook = nbformat.v4.new_notebook(cells=[cell])
    nbclient.NotebookClient(notebook, timeout=120).execute()
    shown = [each.get("text") or each["data"].get("text/plain") for each in cell.outputs
             if each.get("name") != "stderr"]  # fmt: skip
    assert "\r" not in "".join(shown) and "\x1b" not in "".join(shown)
    return shown


@pytest.mark.release
def test_an_output_per_epoch_is_updated_in_place():
    first, message, second, rest, *_ = outputs_of(0.0)
    assert first.startswith("Epoch 1/2 8 steps ") and " examples/s" in first
    assert message == "Epoch 2: batch size 8 -> 16\n"
    assert second.startswith("Epoch 2/2 4 steps ")
    assert rest.startswith("12 updates, ")


@pytest.mark.release
def test_one_output_for_many_short_runs():
    first, *printed = outputs_of(30.0)
    assert first.startswith("Epoch 2/2 4 steps ")
    assert "".join(printed) == "Epoch 2: batch size 8 -> 16\nend\n"
