"""In a Jupyter kernel tables and plots are shown, and an interrupted cell resumes."""

import json
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.release
def test_an_interrupted_cell_resumes_and_shows_tables_and_pictures(tmp_path):
    pytest.importorskip("ipykernel")
    script = Path(__file__).with_name("notebook_script.py")
    process = subprocess.run(
        [sys.executable, script, tmp_path], capture_output=True, text=True, check=True, timeout=280
    )
    setup, interrupted, again, traceback, refused = map(json.loads, process.stdout.splitlines())
    assert not setup
    assert interrupted[-1] == [
        "Interrupted",
        "interrupted by SIGINT; a checkpoint is saved: run the cell again to resume",
    ]
    texts = "".join(shown for kind, shown in again if kind == "stdout")
    assert "of 8" in texts and "[1/1] a seed 0" in texts
    kind, shown = again[-1]
    assert kind == "execute_result" and "test loss" in shown["text/html"]
    assert shown["text/html"].count("data:image/png;base64,") >= 3
    assert "AttributeError" in traceback[-1]  # other errors keep their traceback
    assert refused == [["UserError", "lbkeras.errors.UserError: batch_size: expected 1 to 4800 "
                        "(the number of examples), received 0"]]  # fmt: skip
