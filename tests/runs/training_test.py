"""Runs from Python: when a run has ended, a run that diverges late, resuming, progress."""

import contextlib
import dataclasses
import io
import json
import os
import re
import shutil
import signal
from pathlib import Path

import numpy as np
import pytest

from lbkeras.callbacks import Diverged
from lbkeras.cli.main import main
from lbkeras.errors import UserError
from lbkeras.replication import read_history, write_record
from lbkeras.runs import training
from lbkeras.runs.config_task import ConfigTask
from lbkeras.runs.run_spec import RunSpec, hyper_parameters
from tests.terminal import pseudo_terminal, screen

WRITTEN_BY_0_1_0 = Path(__file__).parents[1] / "written_by_0_1_0"


def _settings(**plan):
    return {
        "data": {
            "name": "digits", "num_examples": 1437, "train_split": "train", "test_split": "test",
            "test_batch_size": 1000, "augmentation": "default",
        },
        "model": {"name": "mlp", "num_classes": 10, "hidden_sizes": (16,)},
        "optimizer": {"name": "SGD"},
        "plan": {
            "name": "noise_scale_plan", "strategy": "decay_learning_rate", "epochs": 2,
            "boundaries": (1,), "factor": 5.0, "learning_rate": 0.05, "momentum": 0.9,
            "batch_size": 120,
        } | plan,
    }  # fmt: skip


@pytest.fixture
def make_run(tmp_path):
    def make(settings=None, **more):
        return RunSpec(
            task=ConfigTask(settings or _settings()), arm="a", seed=1, folder=tmp_path / "run",
            config="c.py", command="lbkeras train", **more,
        )  # fmt: skip

    return make


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A finished run of two epochs with a title: the run, its record and its output."""
    folder = tmp_path_factory.mktemp("trained") / "run"
    run = RunSpec(
        task=ConfigTask(_settings()), arm="a", seed=1, folder=folder, config="c.py",
        command="lbkeras train", title="a 1",
    )  # fmt: skip
    with contextlib.redirect_stdout(io.StringIO()) as said:
        return run, training.train(run), said.getvalue()


def test_a_run_without_a_folder_has_not_ended(make_run):
    assert training.has_ended(make_run()) is None
    assert not make_run().folder.exists()


def test_a_finished_run_returns_its_record(trained):
    run, record, _ = trained
    assert record["status"] == "finished"
    assert record["trainable_parameters"] == (64 + 1) * 16 + (16 + 1) * 10
    assert training.has_ended(run) == "finished"
    assert training.train(run) == record


def test_the_folder_of_another_config_is_refused(trained):
    other = dataclasses.replace(trained[0], task=ConfigTask(_settings(momentum=0.5)))
    with pytest.raises(UserError, match=r"\(plan\.momentum=0\.9\), received plan\.momentum=0\.5"):
        training.has_ended(other)


def test_a_run_of_another_backend(trained, tmp_path):
    run, record, _ = trained
    assert record["backend"] == "tensorflow" and record["versions"]["tensorflow"]
    copy = dataclasses.replace(run, folder=tmp_path / "run")
    shutil.copytree(run.folder, copy.folder)
    write_record(copy.folder, record | {"backend": "jax"})
    for refuses in (training.has_ended, training.train):
        with pytest.raises(UserError) as raised:
            refuses(copy)
        assert str(raised.value) == (
            f"workdir {copy.folder}: expected Keras' jax backend, on which its run began "
            "(KERAS_BACKEND=jax), received tensorflow; use another --workdir"
        )
    write_record(copy.folder, {key: each for key, each in record.items() if key != "backend"})
    assert training.has_ended(copy) == "finished"  # a record of 0.1.0


def test_an_unusable_plan_creates_no_folder(make_run):
    with pytest.raises(UserError, match="plan.epochs"):
        training.train(make_run(_settings(epochs=0)))
    assert not make_run().folder.exists()


def test_a_run_that_diverges_late_keeps_its_last_good_checkpoint(make_run):
    # Two epochs of 11 updates that go well, then a rate at which float32 overflows.
    plan = {
        "name": "steps_plan", "epochs": 3, "boundaries": (2,), "learning_rates": (0.05, 1e30),
        "momentum": 0.9, "batch_size": 120,
    }  # fmt: skip
    run = make_run(_settings() | {"plan": plan, "train": {"steps_per_execution": 1}})
    with pytest.raises(Diverged) as raised:
        training.train(run)
    kept = run.folder / "checkpoints" / "update_000000022.npz"
    message = str(raised.value)
    assert re.match(r"the loss became (NaN|infinite) at update 2[34] \(epoch 3\) with", message)
    assert f"learning rate 1e+30; the last good checkpoint is {kept}" in message
    record = json.loads((run.folder / "record.json").read_text())
    assert (record["status"], record["error"], record["epochs"]) == ("diverged", message, 2)
    with np.load(kept) as file:
        arrays = [file[name] for name in file.files if name.startswith("model/")]
    assert arrays and all(np.isfinite(array).all() for array in arrays)
    assert training.has_ended(run) == "diverged"


@pytest.mark.slow
def test_a_run_that_0_1_0_left_behind_is_resumed(tmp_path):
    """It ends like an undisturbed run of 0.1.0 with the same arm and seed."""
    folder = tmp_path / "run"
    shutil.copytree(WRITTEN_BY_0_1_0 / "killed", folder)
    settings = json.loads((folder / "config.json").read_text())
    arm, seed, config = (settings.pop(name) for name in ("arm", "seed", "config"))
    run = RunSpec(task=ConfigTask(settings), arm=arm, seed=seed, folder=folder, config=config,
                       command="")  # fmt: skip
    before = read_history(folder / "history.jsonl")
    record = training.train(run)
    rows = read_history(folder / "history.jsonl")
    assert rows[:2] == before and len(rows) == 3
    (expected,) = read_history(WRITTEN_BY_0_1_0 / "tiny/grows/seed_0/history.jsonl")[2:]
    for name in ("updates", "examples_seen", "batch_size"):
        assert rows[2][name] == expected[name]
    for name in ("loss", "val_loss"):
        assert rows[2][name] == pytest.approx(expected[name], rel=1e-3)
    assert (record["status"], record["sessions"], record["format"]) == ("finished", 2, 1)


def test_a_signal_in_a_run_that_diverges_is_not_lost(make_run, monkeypatch):
    from lbkeras.callbacks import StopOnNaN

    def diverge(self, epoch, logs=None):
        signal.raise_signal(signal.SIGINT)
        raise Diverged("the loss became NaN")

    monkeypatch.setattr(StopOnNaN, "on_epoch_begin", diverge)
    with pytest.raises(KeyboardInterrupt):
        training.train(make_run())
    record = json.loads((make_run().folder / "record.json").read_text())
    assert record["status"] == "interrupted"


def test_progress_is_a_line_per_epoch(trained):
    first, *lines, summary = trained[2].splitlines()
    assert first.startswith("strategy: one device (")
    assert [line[:13] for line in lines] == ["a 1 Epoch 1/2", "a 1 Epoch 2/2"]
    assert summary.startswith("22 updates, ")


def test_progress_of_short_runs_can_be_left_out(make_run, capsys):
    training.train(make_run(seconds_between_lines=1e6))
    assert not capsys.readouterr().out


def test_progress_on_a_terminal_can_be_overwritten(make_run, monkeypatch):
    with pseudo_terminal(monkeypatch, 200) as written:
        training.train(make_run(seconds_between_lines=1e6))
    assert "Epoch 1/2" in written[0]
    (line,) = screen(written[0], 200)
    assert line.startswith("Epoch 2/2")


def test_settings_for_tensorboard_are_flat(make_run):
    flat = hyper_parameters(make_run(_settings(increased_momentum=None)))
    assert flat["plan.batch_size"] == 120 and flat["model.hidden_sizes"] == "(16,)"
    assert flat["plan.increased_momentum"] is None
    assert (flat["arm"], flat["seed"]) == ("a", 1)


# In the gate, tests/distribution/equivalence_test.py and the next test cover this.
@pytest.mark.release
def test_replicas_give_the_run_of_one_device_and_resume(mirrored, tmp_path):
    common = ["--config=configs/papers/smith2018.py:digits", "--arm=increased_learning_rate"]
    common += ["--config.plan.epochs=3", "--config.plan.boundaries=(1,2)"]
    losses = {}
    for strategy in ("one", "mirrored"):
        command = ["train", *common, f"--strategy={strategy}", f"--workdir={tmp_path / strategy}"]
        assert main(command) == 0
        rows = read_history(tmp_path / strategy / "history.jsonl")
        losses[strategy] = [(row["loss"], row["val_loss"]) for row in rows]
    np.testing.assert_allclose(losses["one"], losses["mirrored"], rtol=1e-4)

    folder = tmp_path / "mirrored"
    sorted(folder.glob("checkpoints/*.npz"))[-1].unlink()
    record = json.loads((folder / "record.json").read_text())
    write_record(folder, record | {"status": "interrupted"})
    assert main(command) == 0
    again = read_history(folder / "history.jsonl")
    assert [(row["loss"], row["val_loss"]) for row in again] == losses["mirrored"]


def _weights(folder):
    with np.load(sorted(folder.glob("checkpoints/*.npz"))[-1]) as file:
        return [file[name] for name in file.files if name.startswith(("model/", "optimizer/"))]


@pytest.mark.parametrize(
    "devices",
    [
        dict(micro_batch_size=32),
        pytest.param(dict(strategy="mirrored"), marks=pytest.mark.release),
        pytest.param(dict(strategy="mirrored", micro_batch_size=16), marks=pytest.mark.release),
    ],
)
def test_a_resume_with_other_devices_ends_with_the_same_weights(
    trained, mirrored, tmp_path, devices
):
    run, record, _ = trained
    folder = shutil.copytree(run.folder, tmp_path / "run")
    sorted(folder.glob("checkpoints/*.npz"))[-1].unlink()
    write_record(folder, record | {"status": "died"})
    other = dataclasses.replace(run, folder=folder, **devices)
    assert training.train(other)["sessions"] == 2
    for mine, its in zip(_weights(run.folder), _weights(folder), strict=True):
        np.testing.assert_allclose(its, mine, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("strategy", ["one", pytest.param("mirrored", marks=pytest.mark.release)])
def test_the_record_says_on_what_it_ran(make_run, mirrored, strategy):
    """Also its updates: a batch that does not divide the examples drops the rest of an epoch."""
    run = make_run(_settings(batch_size=122), strategy=strategy, micro_batch_size=32)
    record = training.train(run)
    assert record["updates"] == 2 * (1437 // 122) == 22
    replicas = {"one": 1, "mirrored": 2}[strategy]
    assert (record["replicas"], record["workers"]) == (replicas, 1)
    assert record["strategy"].startswith(
        {"one": "one device", "mirrored": "mirrored over 2"}[strategy]
    )
    assert record["micro_batch_size"] == 32


def test_replicas_that_do_not_divide_a_phase_are_named_before_anything_is_written(
    make_run, mirrored
):
    run = make_run(strategy="mirrored")
    run.task.settings["plan"]["batch_size"] = 7
    with pytest.raises(UserError, match="phase 1 .* a multiple of the 2 replicas, received 7"):
        training.train(run)
    assert not (run.folder / "config.json").exists()


def test_an_evaluation_that_runs_out_of_memory_names_what_to_lower(make_run, monkeypatch):
    import keras
    import tensorflow as tf

    def evaluate(self, *arguments, **more):
        raise tf.errors.ResourceExhaustedError(None, None, "OOM when allocating tensor")

    monkeypatch.setattr(keras.Model, "evaluate", evaluate)
    with pytest.raises(
        UserError, match="data.test_batch_size: expected one that fits in memory, received 1000"
    ):
        training.train(make_run())


class _AtLine(io.StringIO):
    """Standard output that calls `act` when a run prints a text, as another user might act then."""

    def __init__(self, text, act):
        super().__init__()
        self._text, self._act = text, act

    def write(self, text):
        if self._text in text:
            self._act()
        return super().write(text)


def _replace(folder):
    shutil.rmtree(folder)
    folder.mkdir()
    (folder / ".lock").write_text("another run")


@pytest.mark.slow
@pytest.mark.parametrize("act", [shutil.rmtree, pytest.param(_replace, marks=pytest.mark.slow)])
def test_a_folder_that_vanishes_ends_the_run(make_run, act):
    run = make_run(checkpoint_minutes=0.0)
    with contextlib.redirect_stdout(_AtLine("Epoch 1/2", lambda: act(run.folder))):
        with pytest.raises(UserError, match=f"^workdir {run.folder}: expected the folder that"):
            training.train(run)
    assert not run.folder.exists() or os.listdir(run.folder) == [".lock"]


@pytest.mark.release  # the gate: tests/cli/faults_test.py
def test_a_run_that_cannot_write_has_died_and_can_be_resumed(make_run):
    run = make_run()
    run.folder.mkdir()
    (run.folder / "checkpoints").write_text("a file")
    with pytest.raises(OSError, match="File exists"):
        training.train(run)
    record = json.loads((run.folder / "record.json").read_text())
    assert record["status"] == "died" and str(run.folder / "checkpoints") in record["error"]
    assert training.has_ended(run) is None
    (run.folder / "checkpoints").unlink()
    assert training.train(run)["status"] == "finished"


@pytest.mark.slow
def test_a_run_records_the_distance_of_its_nodes(make_run):
    settings = _settings(batch_size=256)
    settings["data"] |= dict(num_examples=1436, dirichlet_alpha=0.1)
    settings["optimizer"] = dict(name="DecentLaM", num_nodes=4, topology="ring")
    run = make_run(settings)
    record = training.train(run)
    rows = read_history(run.folder / "history.jsonl")
    assert record["status"] == "finished" and record["updates"] == 10
    assert record["final"]["consensus_distance"] == rows[-1]["consensus_distance"] > 0
