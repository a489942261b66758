"""`lbkeras train` in mixed precision: two replicas, micro-batches, LARS, a batch switch, a kill."""

import json
import time

import numpy as np
import pytest

CLOCK = ("seconds", "examples_per_second")
CONFIG = """
from lbkeras.config import experiment


def get_config():
    return experiment(
        data=dict(name="digits", num_examples=1437, augmentation="none"),
        model=dict(name="small_cnn", num_classes=10),
        optimizer=dict(name="LARS", trust_coefficient=0.02, weight_decay=1e-4),
        plan=dict(name="noise_scale_plan", strategy="increase_batch", epochs=4, boundaries=(1,),
                  factor=3.0, learning_rate=1.0, momentum=0.9, batch_size=40),
        train=dict(steps_per_execution=4, ema_momentum=0.9, global_clipnorm=1.0, validation_freq=2),
        arms=dict(bfloat16=dict(train=dict(precision="mixed_bfloat16")),
                  float16=dict(train=dict(precision="mixed_float16"))),
        checkpoint_minutes=0.0,
    )
"""  # fmt: skip


def history(folder):
    file = folder / "history.jsonl"
    lines = file.read_text().splitlines() if file.exists() else []
    rows = [json.loads(line) for line in lines]
    return [{name: row[name] for name in row if name not in CLOCK} for row in rows]


def newest(folder):
    checkpoints = sorted((folder / "checkpoints").glob("*.npz"))
    if not checkpoints:
        return None, {}
    with np.load(checkpoints[-1]) as file:
        arrays = {name: file[name] for name in file.files}
    state = json.loads(bytes(arrays.pop("state")))
    return (state["epoch"], state["step"]), arrays


def kill_when(run, folder, reached):
    """Sends SIGKILL as soon as the newest checkpoint has reached that update."""
    until = time.monotonic() + 300
    while time.monotonic() < until and run.poll() is None:
        place, _ = newest(folder)
        if place is not None and place >= reached:
            run.kill()
            run.wait()
            return
        time.sleep(0.01)
    raise AssertionError(f"no checkpoint at {reached}: {run.communicate()}")


@pytest.mark.release
@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_a_killed_run_ends_like_an_undisturbed_one(precision, forked, tmp_path):
    """Equal bit for bit in weights, averages, slots, loss scale and history, after all updates."""
    (tmp_path / "mixed.py").write_text(CONFIG)
    whole, killed = tmp_path / "whole", tmp_path / "killed"

    def start(folder):
        return forked(
            "train", f"--config={tmp_path / 'mixed.py'}", f"--arm={precision}",
            f"--workdir={folder}", "--num_logical_devices=2", "--micro_batch_size=16",
        )  # fmt: skip

    left_alone = start(whole)
    assert left_alone.wait(500) == 0, left_alone.communicate()
    for reached in ((0, 8), (1, 0), (2, 4)):  # at batch 40, at the switch, at batch 120
        kill_when(start(killed), killed, reached)
    last = start(killed)
    assert last.wait(500) == 0, last.communicate()

    record = json.loads((killed / "record.json").read_text())
    assert (record["status"], record["sessions"], record["replicas"]) == ("finished", 4, 2)
    assert record["updates"] == 35 + 3 * 11
    rows = history(killed)
    assert rows == history(whole)
    assert [row["batch_size"] for row in rows] == [40, 120, 120, 120]
    assert rows[-1]["val_accuracy"] > 0.8
    (place, expected), (other_place, received) = newest(whole), newest(killed)
    assert place == other_place == (4, 0)
    assert expected.keys() == received.keys()
    for name, value in expected.items():
        np.testing.assert_array_equal(received[name], value, err_msg=name)
