"""`lbkeras train`: the files of a run, resuming, and what it refuses."""

import json
import os
import random
import signal
import time
from pathlib import Path

import numpy as np
import pytest

from lbkeras.cli.main import main
from tests.forked import Forked
from tests.terminal import pseudo_terminal, screen

COLUMNS = [
    "epoch", "updates", "examples_seen", "batch_size", "learning_rate", "momentum", "noise_scale",
    "loss", "accuracy", "val_loss", "val_accuracy", "seconds", "examples_per_second",
]  # fmt: skip


def _rows(folder):
    return [json.loads(line) for line in (folder / "history.jsonl").read_text().splitlines()]


def _record(folder):
    return json.loads((folder / "record.json").read_text())


def _weights(folder):
    with np.load(sorted((folder / "checkpoints").glob("update_*.npz"))[-1]) as file:
        return {name: file[name] for name in file.files if name != "state"}


def _assert_same_weights(one, other):
    one, other = _weights(one), _weights(other)
    assert set(one) == set(other) and one
    for name in one:
        np.testing.assert_array_equal(one[name], other[name], err_msg=name)


# The files of a run.


def test_a_run_leaves_the_files_of_the_contract(finished_run):
    files = {path.name for path in finished_run.iterdir()}
    assert {"config.json", "plan.json", "record.json", "history.jsonl", "model.keras"} <= files
    for folder in ("checkpoints", "tensorboard/train", "tensorboard/validation"):
        assert list((finished_run / folder).iterdir())
    assert not list(finished_run.rglob("*.tmp"))


def test_history_has_the_columns_of_the_contract_and_follows_the_plan(finished_run):
    rows = _rows(finished_run)
    assert [list(row) for row in rows] == [COLUMNS] * 3
    assert [row["updates"] for row in rows] == [10, 20, 30]
    assert [row["examples_seen"] for row in rows] == [1400, 2800, 4200]
    assert [row["batch_size"] for row in rows] == [140] * 3
    assert [row["learning_rate"] for row in rows] == pytest.approx([0.01, 0.002, 0.0004])
    scales = [0.01 * 1437 / (140 * 0.1) / 5**k for k in range(3)]
    assert [row["noise_scale"] for row in rows] == pytest.approx(scales)


def test_the_record_says_what_the_run_was_made_with_and_reached(finished_run):
    record, last = _record(finished_run), _rows(finished_run)[-1]
    assert record["status"] == "finished"
    assert (record["arm"], record["seed"], record["sessions"]) == ("large_batch_naive", 0, 1)
    assert (record["updates"], record["epochs"], record["examples_seen"]) == (30, 3, 4200)
    assert record["final"]["val_accuracy"] == last["val_accuracy"]
    assert record["versions"]["keras"] and record["hardware"]["cpu_count"]
    assert record["references"] and record["command"].startswith("lbkeras train --config=")
    config = json.loads((finished_run / "config.json").read_text())
    assert config["plan"]["batch_size"] == 140 and config["arm"] == "large_batch_naive"


# Resuming.


def test_the_last_lines_fit_a_terminal(run_copy, tiny, monkeypatch):
    monkeypatch.chdir(run_copy.parent)
    with pseudo_terminal(monkeypatch, 60) as written:
        assert main(["train", *tiny, "--workdir=run"]) == 0
    lines = screen(written[0], 60)
    assert lines[-2].endswith(" everything is in run") or lines[-2] == "  everything is in run"
    assert lines[-3].startswith("large_batch_naive, seed 0: test accuracy ")
    assert max(map(len, lines[-3:])) <= 60


def test_a_finished_run_is_not_trained_again(run_copy, tiny, succeeds):
    before = {path: path.stat().st_mtime_ns for path in run_copy.rglob("*.*") if path.is_file()}
    output = succeeds("train", *tiny, f"--workdir={run_copy}")
    assert "this run is finished; nothing is left to train" in output
    after = {path: path.stat().st_mtime_ns for path in run_copy.rglob("*.*") if path.is_file()}
    assert {p for p in after if after[p] != before.get(p)} <= {run_copy / ".lock"}


def _as_if_interrupted(folder):
    """Marks the run's record as interrupted and returns its newest checkpoint."""
    newest = sorted((folder / "checkpoints").glob("update_*.npz"))[-1]
    record = _record(folder)
    (folder / "record.json").write_text(json.dumps(record | {"status": "interrupted"}))
    return newest


def test_a_truncated_checkpoint_is_passed_over(run_copy, finished_run, tiny, succeeds):
    newest = _as_if_interrupted(run_copy)
    newest.write_bytes(newest.read_bytes()[:5000])
    with open(run_copy / "history.jsonl", "a") as file:
        file.write('{"epoch": 3, "upda')  # a row that a kill cut short
    output = succeeds("train", *tiny, f"--workdir={run_copy}")
    assert output.count("is damaged and skipped") == 1
    assert f"checkpoint {newest} is damaged" in output
    assert "resuming at epoch 3 of 3" in output
    _assert_same_weights(run_copy, finished_run)
    timings = ("seconds", "examples_per_second")
    rows, expected = _rows(run_copy), _rows(finished_run)
    for row in rows + expected:
        for name in timings:
            row.pop(name)
    assert rows == expected
    assert _record(run_copy)["sessions"] == 2


def test_a_malformed_history_is_named_with_its_line(run_copy, tiny, fails):
    _as_if_interrupted(run_copy)
    path = run_copy / "history.jsonl"
    lines = path.read_text().splitlines()
    path.write_text("\n".join([lines[0], "{torn", lines[2], ""]))
    message = fails("train", *tiny, f"--workdir={run_copy}")
    assert message.startswith(f"{path}, line 2: expected a JSON object")


def test_a_history_that_lacks_epochs_is_named(run_copy, tiny, fails):
    _as_if_interrupted(run_copy)
    path = run_copy / "history.jsonl"
    path.write_text(path.read_text().splitlines()[0] + "\n")
    message = fails("train", *tiny, f"--workdir={run_copy}")
    assert message.startswith(f"{path}: expected one row for each of the 3 epochs")


def test_a_malformed_record_is_named(run_copy, tiny, fails):
    (run_copy / "record.json").write_text('{"status": "fini')
    message = fails("train", *tiny, f"--workdir={run_copy}")
    assert message.startswith(f"{run_copy / 'record.json'}, line 1: expected a JSON object")


def test_a_record_that_lacks_its_result_is_named(run_copy, tiny, fails):
    (run_copy / "record.json").write_text('{"status": "finished"}')
    message = fails("train", *tiny, f"--workdir={run_copy}")
    assert message.startswith(f"{run_copy / 'record.json'}: expected the metric 'val_accuracy'")


# What is refused.


def test_the_workdir_of_another_config_names_the_first_key_that_differs(run_copy, tiny, fails):
    message = fails("train", *tiny, f"--workdir={run_copy}", "--config.plan.momentum=0.8")
    assert message == (
        f"workdir {run_copy}: expected the config it was started with (plan.momentum=0.9), "
        "received plan.momentum=0.8; use another workdir"
    )


def test_the_workdir_of_another_seed(run_copy, tiny, fails):
    message = fails("train", *tiny, f"--workdir={run_copy}", "--seed=1")
    assert "(seed=0), received seed=1" in message


def test_the_same_config_by_another_path_is_the_same(run_copy, tiny, succeeds, monkeypatch, smith):
    monkeypatch.chdir(os.path.dirname(smith))
    output = succeeds(
        "train", "--config=smith2018.py", *tiny[1:], f"--workdir={run_copy}"
    )  # fmt: skip
    assert "nothing is left to train" in output


def test_a_workdir_below_a_file(tiny, fails, tmp_path):
    (tmp_path / "file").write_text("")
    message = fails("train", *tiny, f"--workdir={tmp_path / 'file' / 'run'}")
    assert message == (
        f"workdir {tmp_path / 'file' / 'run'}: expected a folder that can be written, received: "
        "Not a directory"
    )


def test_unknown_arm_names_the_nearest(smith, fails, tmp_path):
    message = fails("train", f"--config={smith}", f"--workdir={tmp_path}", "--arm=hybird")
    assert message.startswith("arm: expected one of original, ")
    assert message.endswith("received 'hybird' (did you mean 'hybrid'?)")


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("data.name=digit", "unknown data set 'digit'"),
        ("data.name=mnist", "data set 'mnist' is not on disk: searched '{}'"),
        ("data.train_split=trian", "'trian'"),
        ("data.train_split=train[:0]", "expected some images, received the empty 'train[:0]'"),
        ("data.num_examples=1436", "data.num_examples: expected 1437 (what digits 'train' holds), "
         "received 1436"),
        ("model.name=small_cn", "(did you mean 'small_cnn'?)"),
        ("model.name=mlp", "model: expected one of input_shape, num_classes, hidden_sizes, "),
        ("model.num_classes=5", "model.num_classes: expected at least 10"),
        ("optimizer.name=SDG", "(did you mean 'SGD'?)"),
    ],
)  # fmt: skip
def test_a_config_that_cannot_be_trained_does_not_claim_the_folder(
    override, expected, tiny, fails, tmp_path
):
    flags = [f"--workdir={tmp_path / 'run'}", f"--data_dir={tmp_path}", f"--config.{override}"]
    assert expected.format(tmp_path) in fails("train", *tiny, *flags)
    assert not (tmp_path / "run" / "config.json").exists()


def test_a_loss_that_is_not_finite_stops_the_run(tiny, fails, tmp_path):
    run = tmp_path / "run"
    flags = ["--config.plan.learning_rate=1e30", "--config.train.steps_per_execution=5"]
    message = fails("train", *tiny, f"--workdir={run}", *flags)
    assert message.startswith("the loss became ")
    assert "at updates 1 to 5 (epoch 1) with learning rate 1e+30" in message
    assert "none was saved" in message
    record = _record(run)
    assert record["status"] == "diverged"
    assert record["error"] in message


# Interrupted, as real processes.

GROWN = ("--arm=increased_learning_rate", "--config.plan.epochs=8",
         "--config.plan.boundaries=(3,5,7)", "--config.train.steps_per_execution=1",
         "--config.checkpoint_minutes=0.0")  # fmt: skip


def _wait_for_rows(run, folder, count, seconds=300):
    until = time.monotonic() + seconds
    while time.monotonic() < until and run.poll() is None:
        path = folder / "history.jsonl"
        if path.exists() and path.read_text().count("\n") >= count:
            return
        time.sleep(0.02)
    raise AssertionError(f"no {count} epochs: {run.communicate()}")


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """The folder of an undisturbed run of GROWN."""
    folder = tmp_path_factory.mktemp("undisturbed") / "run"
    config = Path(__file__).parents[2] / "configs/papers/smith2018.py"
    run = Forked("train", f"--config={config}", *GROWN, f"--workdir={folder}")
    assert run.wait(300) == 0, run.communicate()
    return folder


@pytest.mark.release  # in the gate, `replicate` gets a SIGINT and a worker a SIGTERM
@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_saves_and_the_same_command_resumes(
    number, status, process, forked, smith, tmp_path, undisturbed
):
    run = tmp_path / "run"
    command = ("train", f"--config={smith}", *GROWN, f"--workdir={run}")
    first, second = (process, forked) if number == signal.SIGINT else (forked, process)
    first = first(*command)
    _wait_for_rows(first, run, 1)
    first.send_signal(number)
    _, error = first.communicate(timeout=120)
    assert first.returncode == status
    assert error.count("\n") == 1
    assert f"interrupted by {number.name}, checkpoint saved; to resume, run the same" in error
    assert "lbkeras train --config=" in error and str(run) in error
    assert _record(run)["status"] == "interrupted"

    second = second(*command)
    output, error = second.communicate(timeout=300)
    assert (second.returncode, error) == (0, "")
    assert "resuming at epoch" in output
    assert (_record(run)["status"], _record(run)["sessions"]) == ("finished", 2)
    _assert_same_weights(run, undisturbed)


@pytest.mark.release
def test_an_inherited_ignored_interrupt_stays_ignored(process, smith, tmp_path, undisturbed):
    run = tmp_path / "run"
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)  # as `trap '' INT` and nohup do
    try:
        first = process("train", f"--config={smith}", *GROWN, f"--workdir={run}")
    finally:
        signal.signal(signal.SIGINT, before)
    _wait_for_rows(first, run, 1)
    first.send_signal(signal.SIGINT)
    _, error = first.communicate(timeout=300)
    assert (first.returncode, error) == (0, "")
    assert (_record(run)["status"], _record(run)["sessions"]) == ("finished", 1)
    _assert_same_weights(run, undisturbed)


@pytest.mark.slow
@pytest.mark.parametrize("kills", [(3,), pytest.param((1, 4), marks=pytest.mark.release)])
def test_a_kill_at_any_moment_loses_nothing(forked, smith, tmp_path, undisturbed, kills):
    """Kills at some moment of an epoch; checkpoint_test.py kills twice in one epoch."""
    run = tmp_path / "run"
    command = ("train", f"--config={smith}", *GROWN, f"--workdir={run}")
    for rows in kills:
        first = forked(*command)
        _wait_for_rows(first, run, rows)
        # Within the next epoch, so that the run does not finish before it is killed.
        time.sleep(random.uniform(0, min(0.4, _rows(run)[-1]["seconds"])))
        first.kill()
        first.wait()
    last = forked(*command)
    _, error = last.communicate(timeout=300)
    assert (last.returncode, error) == (0, "")
    assert _record(run)["sessions"] == len(kills) + 1
    _assert_same_weights(run, undisturbed)


@pytest.mark.slow
def test_a_folder_in_use_is_refused_by_name(forked, smith, tmp_path, fails):
    run = tmp_path / "run"
    command = ("train", f"--config={smith}", *GROWN, f"--workdir={run}")
    first = forked(*command)
    _wait_for_rows(first, run, 1)
    first.send_signal(signal.SIGSTOP)  # else it might end before the other one looks
    assert fails(*command) == (
        f"workdir {run}: expected one that no run uses, received one in use by the live process "
        f"{first.pid}"
    )
