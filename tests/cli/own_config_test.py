"""Every command with a user's config in an empty folder: model, data and loss by name."""

import json
import os
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import h5py
import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[2]
PARTS = '''
import keras
import numpy as np


def load(noise):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(2500, 8)).astype("float32")
    y = x @ np.arange(8) / 8 + noise * rng.normal(size=2500)
    y = y.astype("float32")[:, None]
    inputs = {"left": x[:, :4], "right": x[:, 4:]}

    def part(rows):
        return {key: value[rows] for key, value in inputs.items()}, y[rows]

    return part(slice(0, 2000)), part(slice(2000, None))


@keras.saving.register_keras_serializable("parts")
class Net(keras.Model):
    """Subclassed, with dict inputs and dropout, whose random numbers a resume must repeat."""

    def __init__(self, width, **kwargs):
        super().__init__(**kwargs)
        self.width = width
        self.hidden = keras.layers.Dense(width, activation="relu")
        self.dropout = keras.layers.Dropout(0.1)
        self.out = keras.layers.Dense(1)

    def call(self, inputs, training=False):
        joined = keras.ops.concatenate([inputs["left"], inputs["right"]], axis=-1)
        return self.out(self.dropout(self.hidden(joined), training=training))

    def get_config(self):
        return super().get_config() | {"width": self.width}


def loss(y_true, y_pred, power):
    return keras.ops.mean(keras.ops.abs(y_true - y_pred) ** power, axis=-1)


def close(y_true, y_pred):
    return keras.ops.cast(keras.ops.abs(y_true - y_pred) < 0.3, "float32")
'''
CONFIG = '''"""A regression of one's own."""


def get_config():
    return dict(
        data=dict(name="my_parts:load", num_examples=2000, noise=0.05),
        model=dict(name="my_parts:Net", width=32),
        loss=dict(name="my_parts:loss", power=2.0),
        metrics=dict(mae={}, close=dict(name="my_parts:close", better="higher")),
        plan=dict(name="noise_scale_plan", strategy="increase_batch", epochs=12, boundaries=(4, 8),
                  factor=4.0, learning_rate=0.01, momentum=0.9, batch_size=10),
        arms=dict(grows={}, large=dict(plan=dict(batch_size=160, strategy="decay_learning_rate"))),
        seeds=2,
    )
'''


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "my_parts.py").write_text(PARTS)
    (tmp_path / "mine.py").write_text(CONFIG)
    return tmp_path


def start(folder, *arguments):
    return subprocess.Popen(
        [sys.executable, "-m", "lbkeras", *arguments],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def run(folder, *arguments) -> str:
    process = start(folder, *arguments)
    output, error = process.communicate(timeout=600)
    assert process.returncode == 0, error
    return output


def rows(folder) -> list[dict]:
    file = folder / "history.jsonl"
    lines = file.read_text().splitlines() if file.exists() else []
    clock = ("seconds", "examples_per_second")
    return [{k: v for k, v in json.loads(line).items() if k not in clock} for line in lines]


def weights(folder) -> dict[str, np.ndarray]:
    """Returns all arrays in model.keras, including the optimizer's."""
    found = {}
    with zipfile.ZipFile(folder / "model.keras") as archive:
        with archive.open("model.weights.h5") as file, h5py.File(file) as saved:

            def take(name, item):
                if isinstance(item, h5py.Dataset):
                    found[name] = item[()]

            saved.visititems(take)
    assert len(found) > 8
    return found


TRAIN = ("train", "--config=mine.py", "--config.checkpoint_minutes=0.0",
         "--config.train.steps_per_execution=1")  # fmt: skip


@pytest.mark.release
def test_a_kill_at_any_moment_loses_nothing(folder):
    run(folder, *TRAIN, "--workdir=whole")
    for number in range(3):
        process = start(folder, *TRAIN, "--workdir=killed")
        before, until = len(rows(folder / "killed")), time.monotonic() + 200
        while len(rows(folder / "killed")) < before + 2 and time.monotonic() < until:
            assert process.poll() is None, process.communicate()
            time.sleep(0.005)
        time.sleep(0.05 * number)
        process.kill()
        process.communicate()
        assert not (folder / "killed" / "model.keras").exists()
    run(folder, *TRAIN, "--workdir=killed")
    whole, killed = folder / "whole", folder / "killed"
    assert json.loads((killed / "record.json").read_text())["sessions"] == 4
    assert rows(killed) == rows(whole) and len(rows(whole)) == 12
    expected, found = weights(whole), weights(killed)
    assert expected.keys() == found.keys()
    for name, value in expected.items():
        np.testing.assert_array_equal(found[name], value, err_msg=name)


@pytest.mark.release
def test_plans_advice_comparison_and_report(folder):
    planned = run(folder, "plan", "--config=mine.py")
    assert "large    144 updates" in planned
    assert "examples/s" in run(folder, "plan", "--config=mine.py", "--probe")
    advised = run(folder, "plan", "--config=mine.py", "--auto", "--write=recommended.py")
    assert "recommended" in advised
    assert list(json.loads(run(folder, "plan", "--config=recommended.py", "--format=json"))["arms"])
    run(folder, "train", "--config=recommended.py", "--workdir=runs/recommended")

    compared = run(folder, "replicate", "--config=mine.py", "--workdir=runs/mine")
    assert "A regression of one's own" in compared
    assert "large has at most 1.05 times the test mae of grows" in compared
    report = json.loads((folder / "runs/mine/report.json").read_text())
    assert (report["metric"], report["paper"]) == ("val_mae", {})
    assert report["arms"]["grows"]["metric"]["n"] == 2
    assert [claim["test"] for claim in report["claims"]] == ["ratio_at_least"]
    pictures = {path.name for path in (folder / "runs/mine/plots").glob("*.png")}
    assert "val_mae_against_updates.png" in pictures
    (folder / "runs/mine/report.md").unlink()
    assert "test mae" in run(folder, "report", "--workdir=runs/mine")
    assert "test mae" in (folder / "runs/mine/report.md").read_text()
