"""tools/gpu_report.py at tiny sizes on the CPU: every part ends, with correct results."""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ARMS = ["original", "increase_batch", "increased_learning_rate", "increased_momentum"]
# Without the part torch, as it may not be installed.
PARTS = ["platform", "compile", "fit", "ghosts", "short_fit", "memory", "smith2018"]
PARTS += ["float32", "updates", "equality"]

pytestmark = [
    pytest.mark.skipif(importlib.util.find_spec("jax") is None, reason="needs JAX"),
    pytest.mark.release,  # the files of tools/ that it imports are checked by ruff and mypy alone
]


def run(tmp_path, *more):
    command = [sys.executable, str(ROOT / "tools/gpu_report.py"), "--tiny", f"--out={tmp_path}"]
    environment = os.environ | {"KERAS_BACKEND": "jax", "JAX_PLATFORMS": "cpu"}
    subprocess.run([*command, *more], check=True, env=environment, timeout=1900)
    return json.loads((tmp_path / "gpu_report.json").read_text())


def test_every_part_ends(tmp_path):
    report = run(tmp_path, "--minutes=30", "--rounds=2", f"--parts={','.join(PARTS)}")
    parts = report["parts"]
    assert report["ended"] == "done" and list(parts) == PARTS
    failed = {name: figures for name, figures in parts.items() if "error" in json.dumps(figures)}
    assert not failed

    fit = parts["fit"]
    first = fit["batch 8: first epoch, of programs in the cache"]
    assert {name: each["cache misses"] for name, each in first.items()} == dict.fromkeys(first, 0)
    assert set(fit["batch 8"]) == {"bare", "fit", "plain"}
    for figure in fit["batch 8"].values():
        assert figure["images a second"] > 0 and len(figure["seconds of epochs"]) == 2

    assert set(parts["float32"]["batch 8"]) == {"bare", "fit"}

    updates = parts["updates"]
    assert {"LARS / SGD", "LAMB / Lamb"} < set(updates) and updates["LARS"]["rounds"] == 2
    for figures in parts["ghosts"].values():
        assert figures["BatchNormalization"]["ratio"] == 1.0
        assert figures["GhostBatchNormalization"]["ratio"] > 0

    equality = parts["equality"]
    assert max(value for name, value in equality.items() if name.endswith("float64")) < 1e-6
    assert equality["losses of 20 updates against the CPU"] == {"first": 0.0, "all": 0.0}
    short = parts["short_fit"]
    assert short["the same augmented batches as on the CPU"]
    for name in ("SGD", "LARS"):
        figure = short[f"{name}, largest relative difference from the CPU"]
        assert figure == {"updates": 20, "weights": 0.0, "losses": 0.0}

    runs = {name: parts["smith2018"][name] for name in ARMS}
    assert all(run["epochs"] == run["of"] == 3 for run in runs.values())
    for name, each in runs.items():
        assert each["updates"] == each["updates of the plan"] > 0
        assert each["updates"] == each["updates of the whole plan"] == each["ended"]["updates"]
        assert 0 <= each["test accuracy"] <= 1
        rows = (tmp_path / f"history_{name}.jsonl").read_text().splitlines()
        assert [json.loads(row)["epoch"] for row in rows] == [0, 1, 2]


def test_it_ends_when_the_minutes_are_over_and_keeps_its_figures(tmp_path):
    report = run(tmp_path, "--minutes=0.4")
    assert report["ended"] == "the minutes are over" and report["seconds"] < 40
    assert report["parts"]["platform"]["device"]["platform"] == "cpu"


@pytest.mark.parametrize("name", ["ConstantWeights", "Unrolled"])
def test_candidates_are_ghost_batch_norm(name):
    """Output, gradients and moving statistics of a training step."""
    script = f"""
import sys
sys.path.insert(0, {str(ROOT / "tools")!r})
import gpu_ghosts, jax, jax.numpy as jnp, numpy as np
x = np.random.default_rng(0).normal(5.0, 3.0, size=(96, 7)).astype("float32")
found = []
for kind in (gpu_ghosts.GhostBatchNormalization, gpu_ghosts.{name}):
    layer = kind(gpu_ghosts.SIZE)
    layer.build(x.shape)
    draws = np.random.default_rng(1)
    for variable in layer.trainable_variables:
        variable.assign(draws.normal(size=variable.shape))
    other = [variable.value for variable in layer.non_trainable_variables]
    def loss(trained, x):
        y, new = layer.stateless_call(trained, other, x, training=True)
        return jnp.sum(y * jnp.cos(jnp.arange(y.size).reshape(y.shape))), (y, new)
    trained = [variable.value for variable in layer.trainable_variables]
    step = jax.value_and_grad(loss, argnums=(0, 1), has_aux=True)
    found.append(jax.tree.leaves(step(trained, x)))
for ours, theirs in zip(*found, strict=True):
    assert np.abs(ours - theirs).max() <= 5e-6 * np.abs(theirs).max()
"""
    environment = os.environ | {"KERAS_BACKEND": "jax", "JAX_PLATFORMS": "cpu"}
    environment["PYTHONPATH"] = str(ROOT)
    subprocess.run([sys.executable, "-c", script], check=True, env=environment, timeout=300)
