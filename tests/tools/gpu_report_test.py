"""tools/gpu_report.py at tiny sizes on the CPU: every part ends, and what it computes is right."""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
# No torch: it need not be installed.
PARTS = ["platform", "updates", "ghosts", "steps", "equality", "fit", "smith2018"]


@pytest.mark.skipif(importlib.util.find_spec("jax") is None, reason="needs JAX")
@pytest.mark.release
def test_every_part_ends(tmp_path):
    command = [sys.executable, str(ROOT / "tools/gpu_report.py"), "--tiny", f"--out={tmp_path}"]
    command += ["--minutes=30", "--rounds=2", "--epochs=4", f"--parts={','.join(PARTS)}"]
    environment = os.environ | {"KERAS_BACKEND": "jax", "JAX_PLATFORMS": "cpu"}
    subprocess.run(command, check=True, env=environment, timeout=1900)
    report = json.loads((tmp_path / "gpu_report.json").read_text())
    parts = report["parts"]
    assert report["ended"] == "done" and list(parts) == PARTS
    assert not [name for name, figures in parts.items() if "error" in figures]

    updates = parts["updates"]
    assert {"LARS / SGD", "LAMB / Lamb"} < set(updates) and updates["LARS"]["rounds"] == 2
    for figures in parts["ghosts"].values():
        assert figures["BatchNormalization"]["ratio"] == 1.0
        assert figures["GhostBatchNormalization"]["ratio"] > 0
    for batch in (8, 16, 32):
        assert parts["steps"][f"float32 batch {batch}"]["images a second"] > 0

    equality = parts["equality"]
    assert max(value for name, value in equality.items() if name.endswith("float64")) < 1e-6
    assert equality["losses of 20 updates against the CPU"] == {"first": 0.0, "all": 0.0}

    runs = [run for name, run in parts["smith2018"].items() if name.endswith("seed 0")]
    assert len(runs) == 4 and all(run["done"] and run["epochs"] == 4 for run in runs)
    assert all(run["updates"] == run["updates_of_the_plan"] > 0 for run in runs)
