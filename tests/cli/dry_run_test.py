"""`lbkeras train --dry_run`: what it finds, what it refuses, and that it leaves no files."""

import json
import signal
import tempfile
from pathlib import Path

import pytest

from lbkeras.advice import one_piece
from lbkeras.cli.main import main

CONFIG = """
from lbkeras import config as common

def data():
    return ([[1.0]] * 8, [0] * 8), ([[1.0]] * 8, [0] * 8)

def get_config(variant=""):
    return common.experiment(
        data=dict(name=data if variant == "own" else "digits", num_examples=1437),
        model=dict(name="mlp", num_classes=10, hidden_sizes=(4,)),
        plan=dict(name="noise_scale_plan", strategy="increase_batch", epochs=3, boundaries=(1,),
                  factor=3.0, batch_size=10, learning_rate=0.1, momentum=0.9),
        arms=dict(
            grown={},
            broken=dict(model=dict(num_classes=5)),
        ),
    )
"""


@pytest.fixture
def config(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(CONFIG)
    return f"--config={path}"


@pytest.fixture
def temporary(tmp_path, monkeypatch):
    """The folder for temporary files."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setenv("TMPDIR", str(folder))
    monkeypatch.setattr(tempfile, "tempdir", None)
    return folder


def test_an_arm_that_fails_is_a_line_and_the_others_are_tried(
    config, capsys, tmp_path, temporary, monkeypatch
):
    for name in ("_SECONDS_OF_TIMING", "_SECONDS_OF_READING"):
        monkeypatch.setattr(one_piece, name, 0.0)
    folder = tmp_path / "run"
    folder.mkdir()
    flags = ["--dry_run", "--format=json", f"--workdir={folder}", "--micro_batch_size=10"]
    status = main(["train", config, *flags])
    output, error = capsys.readouterr()
    found = json.loads(output)
    assert status == 2
    assert list(found["arms"]) == ["grown"]
    failures = [line for line in error.splitlines() if line.startswith("lbkeras: error: ")]
    assert len(failures) == 1
    assert failures[0].startswith("lbkeras: error: arm broken, model: model.num_classes: expected")
    arm = found["arms"]["grown"]
    sizes = {each["batch_size"]: each for each in arm["batch_sizes"]}
    assert [(size, each["pieces"]) for size, each in sizes.items()] == [(10, 1), (30, 3)]
    assert all(each["micro_batch_size"] == 10 for each in sizes.values())
    steps = {10: 1 * 143, 30: 2 * 47}
    seconds = sum(steps[size] * sizes[size]["seconds_per_update"] for size in steps)
    assert arm["updates"] == sum(steps.values()) and arm["seconds"] == pytest.approx(seconds)
    parameters = 64 * 4 + 4 + 4 * 10 + 10
    assert arm["checkpoint_bytes"] > 4 * parameters
    assert any(line.startswith("GPU: none") for line in found["missing"])
    assert list(folder.iterdir()) == list(temporary.glob("lbkeras*")) == []


def test_a_data_set_that_is_not_there_is_missing_and_no_time_is_spoken_of(capsys, smith, tmp_path):
    flags = ["--dry_run", "--arm=original", f"--data_dir={tmp_path}"]
    assert main(["train", f"--config={smith}:mnist", *flags]) == 2
    output, error = capsys.readouterr()
    missing = output.split("missing on this machine\n")[1]
    assert missing.startswith("  data: data set 'mnist' is not on disk: searched")
    assert missing.endswith("\n  GPU: none\n")
    assert "arm original, data: data set 'mnist' is not on disk" in error


def test_a_micro_batch_that_training_refuses_is_refused(config, capsys):
    status = main(["train", config, "--dry_run", "--arm=grown", "--micro_batch_size=31"])
    assert status == 2
    assert capsys.readouterr().err.splitlines()[-1] == (
        "lbkeras: error: arm grown, model: micro_batch_size: expected at most 30 (the largest "
        "batch of a replica), received 31"
    )


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        (
            ["--fake_data", "--workdir=x"],
            "--fake_data: expected only together with --dry_run, received",
        ),
        (
            ["--format=json", "--workdir=x"],
            "--format: expected only together with --dry_run, received",
        ),
        ([], "--workdir: expected a folder, received none"),
        (["--dry_run", "--arm=gron"], "arm: expected one of grown, broken, received 'gron'"),
    ],
)
def test_flags_that_contradict_each_other(flags, expected, config, fails):
    assert fails("train", config, *flags).startswith(expected)


def test_fake_data_for_a_function_is_refused(config, fails):
    message = fails("train", f"{config}:own", "--dry_run", "--fake_data")
    assert message.startswith("--fake_data: expected a named data set, received data.name='mine:")


@pytest.mark.release  # the gate runs the arms above
def test_two_replicas_in_micro_batches(process, smith, tmp_path):
    goyal = Path(smith).with_name("goyal2017.py")
    flags = ["--num_logical_devices=2", "--strategy=mirrored", "--micro_batch_size=16"]
    run = process("train", f"--config={goyal}:digits", "--dry_run", "--arm=beyond", *flags)
    output, error = run.communicate(timeout=300)
    assert run.returncode == 0, error
    assert "2 x 8 x 16" in output
    assert "in pieces of 16: ghosts of 16 examples instead of 32" in output


@pytest.mark.release
def test_fake_data_at_a_memory_limit(process, smith):
    flags = ["--dry_run", "--fake_data", "--arm=increase_batch", "--memory_limit_mb=700"]
    run = process("train", f"--config={smith}:cifar10", *flags)
    output, error = run.communicate(timeout=600)
    assert run.returncode == 0, error
    assert "data set 'cifar10' is not on disk" in output and "--micro_batch_size=" in output


@pytest.mark.release
def test_an_interrupt_leaves_nothing(process, smith, temporary):
    run = process("train", f"--config={smith}", "--dry_run")
    assert any("trying" in line for line in run.stderr)
    run.send_signal(signal.SIGINT)
    assert run.wait(60) == 130
    assert list(temporary.glob("lbkeras*")) == []
