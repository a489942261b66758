"""Bad command lines and config files: one line in one form, and nothing left behind."""

import pytest

# What follows --config=...smith2018.py:digits, and what the line says.
OF_BOTH = [
    ("--config.plan.epochs=" + "9" * 400, "plan.epochs: expected a whole number"),
    ("--config.plan.epochs=0", "plan.epochs: expected"),
    ("--config.plan.epochs=-3", "plan.epochs: expected"),
    ("--config.plan.epochs=1.5", "config.plan.epochs: expected a whole number, received '1.5'"),
    ("--config.plan.epochs=nan", "config.plan.epochs: expected a whole number, received 'nan'"),
    ("--config.plan.batch_size=0", "plan.batch_size: expected"),
    ("--config.plan.batch_size=5000", "plan.batch_size: expected"),
    ("--config.plan.learning_rate=nan", "plan.learning_rate: expected a finite number"),
    ("--config.plan.learning_rate=inf", "plan.learning_rate: expected a finite number"),
    ("--config.plan.learning_rate=-1", "plan.learning_rate: expected a finite number"),
    ("--config.plan.momentum=1", "plan.momentum: expected a number in [0, 1)"),
    ("--config.plan.factor=0", "plan.factor: expected"),
    ("--config.plan.boundaries=5", "config.plan.boundaries: expected a tuple"),
    ("--config.plan.boundaries=(2,1)", "plan.boundaries"),
    ("--config.plan.boundaries=(0,)", "plan.boundaries"),
    ("--config.plan.name=noise_scale", "plan.name: expected one of"),
    ("--config.plan.nmae=x", "config.plan: expected one of"),
    ("--config.plan", "config.plan: expected --config.plan.KEY=VALUE"),
    ("--config.optimizer.name=SDG", "optimizer.name: expected one of"),
    ("--config.optimizer.learning_rate=1", "config.optimizer: expected one of"),
    ("--config.model.name=small_cn", "model.name: expected one of"),
    ("--config.checkpoint_minutes=nan", "config.checkpoint_minutes: expected a number from 0"),
    ("--config.checkpoint_minutes=-1", "config.checkpoint_minutes: expected a number from 0"),
    ("--config.steps_per_execution=-1", "config.steps_per_execution: expected a whole number"),
    ("--config.steps_per_execution=1.5", "config.steps_per_execution: expected a whole number"),
    ("--config.seeds=0", "config.seeds: expected a whole number from 1"),
    ("--config.first_seed=4294967296", "config.first_seed: expected a whole number from 0"),
    ("--config.first_seed=-1", "config.first_seed: expected a whole number from 0"),
    ("--config.data.num_examples=0", "data.num_examples: expected"),
    ("--config.modle.name=x", "config: expected one of"),
    ("--strategy=mirored", "--strategy: expected one of"),
    ("--num_logical_devices=-1", "--num_logical_devices: expected a whole number"),
    ("--memory_limit_mb=-1", "--memory_limit_mb: expected a whole number"),
    ("--confg=x", "flag: expected one of"),
    ("stray", "arguments: expected --FLAG=VALUE only, received 'stray'"),
]
OF_TRAINING = [
    ("--seed=-1", "--seed: expected a whole number from 0 to 4294967295, received '-1'"),
    ("--seed=1180591620717411303424", "--seed: expected a whole number from 0 to 4294967295"),
    ("--arm=", "arm: expected one of original"),
    ("--arm=orignal", "arm: expected one of original"),
    ("--micro_batch_size=-1", "--micro_batch_size: expected a whole number"),
    ("--micro_batch_size=4000", "micro_batch_size: expected at most"),
    ("--config.model.num_classes=3", "model.num_classes: expected at least 10"),
    (
        "--config.model.width=0",
        "model: expected arguments that small_cnn takes, received num_classes=10",
    ),
    ("--config.optimizer.weight_decay=nan", "optimizer"),
    ("--config.data.train_split=trian", "digits"),
    ("--config.data.test_batch_size=0", "batch_size"),
]


def assert_in_form(line: str, expected: str) -> None:
    assert expected in line
    assert "expected" in line or "refused" in line
    assert "Traceback" not in line and "\n" not in line


@pytest.mark.parametrize(("flag", "expected"), OF_BOTH, ids=lambda value: value[:50])
def test_plan(flag, expected, fails, smith):
    assert_in_form(fails("plan", f"--config={smith}:digits", flag), expected)


@pytest.mark.parametrize(("flag", "expected"), OF_BOTH + OF_TRAINING, ids=lambda value: value[:50])
def test_train(flag, expected, fails, smith, tmp_path):
    run = tmp_path / "run"
    line = fails("train", f"--config={smith}:digits", f"--workdir={run}", flag)
    assert_in_form(line, expected)
    assert not (run / "config.json").exists()


FILE = """
from lbkeras import config


def get_config(variant=""):
    made = config.experiment(
        data=dict(name="digits", num_examples=1437),
        model=dict(name="mlp", num_classes=10),
        optimizer=dict(name="SGD"),
        plan=dict(
            name="noise_scale_plan", strategy="hybrid", epochs=2, boundaries=(1,), factor=2.0,
            learning_rate=0.1, momentum=0.9, batch_size=20,
        ),
        arms=dict(first={}),
    )
    BODY
    return made
"""
FILES = [
    ("import sys; sys.exit(3)", "SystemExit"),
    ("1 / 0", "ZeroDivisionError"),
    ("get_config()", "RecursionError"),
    ("made = None", "expected a ConfigDict from lbkeras.config.experiment(), received a NoneType"),
    ("made = {}", "expected a ConfigDict from lbkeras.config.experiment(), received a dict"),
    ("del made.plan", "received one without plan"),
    ("made.arms = {}", "config.arms: expected at least one arm, received none"),
    ("made.unlock(); made.modle = {}", "config: expected one of data,"),
    ("made.unlock(); made.optimizer.learning_rate = 1.0", "expected none, as the plan sets it"),
    ("made.unlock(); made.optimizer.momentum = 1.0", "expected none, as the plan sets it"),
    ("made.unlock(); made.arms.first.plna = {}", "arms.first: expected one of data,"),
    ("made.unlock(); made.arms.first.plan = 3", "config.arms.first.plan: expected a section"),
    ("made.unlock(); made.arms['a\\nb'] = {}", "config.arms: expected names of folders"),
    ("made.unlock(); made.arms['a/b'] = {}", "config.arms: expected names of folders"),
    ("made.unlock(); made.arms[''] = {}", "config.arms: expected names of folders"),
    ("made.unlock(); made.callbacks = 3", "config.callbacks: expected a section"),
]


@pytest.mark.parametrize(("body", "expected"), FILES, ids=lambda v: v[:40])
def test_config_files(body, expected, fails, tmp_path):
    (tmp_path / "mine.py").write_text(FILE.replace("BODY", body))
    for command in (["plan"], ["train", f"--workdir={tmp_path / 'run'}"]):
        line = fails(*command, f"--config={tmp_path / 'mine.py'}")
        assert expected in line and "\n" not in line
    assert not (tmp_path / "run").exists() or not any((tmp_path / "run").iterdir())
