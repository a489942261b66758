"""`lbkeras replicate`: arms, seeds, the report, resuming, and an arm that diverges."""

import json
import signal
import time

import pytest

from lbkeras.cli.command_flags import CommandFlags
from lbkeras.cli.config_files import config_module
from lbkeras.cli.replication_description import describe_replication
from lbkeras.cli.train import define_training_flags
from lbkeras.errors import UserError

# Three small arms; only `diverging` has a learning rate at which float32 overflows.
CONFIG = """
from lbkeras import config as common
from configs.papers import smith2018

PAPER = smith2018.PAPER


def get_config(variant=""):
    config = smith2018.digits()
    config.plan.epochs = 2
    config.plan.boundaries = (1,)
    config.plan.batch_size = 70
    config.plan.max_batch_size = 700
    config.arms = common.arms(dict(
        original=dict(description="falls", plan=dict(strategy="decay_learning_rate")),
        diverging=dict(description="too fast", plan=dict(learning_rate=1e30)),
        increase_batch=dict(description="grows", plan=dict(strategy="increase_batch")),
    ))
    return config


def get_claims(variant=""):
    claims = smith2018.get_claims("digits")
    return [claim for claim in claims if claim["arm"] == "increase_batch"]
"""


@pytest.fixture
def command(tmp_path):
    (tmp_path / "small.py").write_text(CONFIG)
    return (
        "replicate", f"--config={tmp_path / 'small.py'}", f"--workdir={tmp_path / 'w'}", "--seeds=2"
    )  # fmt: skip


def test_the_config_is_not_executed_for_each_run(tmp_path, fails):
    """A config may be slow to run, and all runs must have the same one."""
    config, executed = tmp_path / "counting.py", tmp_path / "executed"
    config.write_text(f"open({str(executed)!r}, 'a').write('x')\n{CONFIG}")
    (tmp_path / "file").write_text("")
    counts = []
    for seeds in (2, 20):
        executed.write_text("")
        flags = f"--config={config}", f"--workdir={tmp_path / 'file' / 'w'}", f"--seeds={seeds}"
        assert "expected a folder that can be written" in fails("replicate", *flags)
        counts.append(len(executed.read_text()))
    assert counts[0] == counts[1] <= 3


@pytest.mark.slow
def test_arms_and_seeds_then_the_report(command, tmp_path, succeeds, monkeypatch):
    # Runs that are short even on a busy machine: one line each.
    monkeypatch.setattr("lbkeras.cli.replicate.SECONDS_BETWEEN_LINES", 1e6)
    output = succeeds(*command)
    lines = output.splitlines()
    runs = [line for line in lines if line.startswith("[")]
    assert [line.split("]")[0] for line in runs] == [f"[{k}/6" for k in range(1, 7)]
    assert not any("Epoch" in line for line in lines)
    assert all("(about " in line and " left)" in line for line in runs[:5])
    assert "left" not in runs[5]
    assert runs[0].startswith("[1/6] original seed 10: ")
    assert runs[1].startswith("[2/6] diverging seed 10: diverged: the loss became ")
    workdir = tmp_path / "w"
    statuses = {
        str(path.parent.relative_to(workdir)): json.loads(path.read_text())["status"]
        for path in workdir.glob("*/seed_*/record.json")
    }
    assert statuses == {
        f"{arm}/seed_{seed}": "diverged" if arm == "diverging" else "finished"
        for arm in ("original", "diverging", "increase_batch")
        for seed in (10, 11)
    }
    text = (workdir / "report.md").read_text()
    assert "increase_batch" in text and "diverged" in text
    notes = json.loads((workdir / "report.json").read_text())["notes"]
    assert notes == [
        "The config fixes n=20 (seeds 10 to 29); this replication has n=2 (seeds 10 to 11)."
    ]
    record = json.loads((workdir / "original/seed_10/record.json").read_text())
    assert record["test_examples"] == 360
    assert len(list((workdir / "plots").glob("*.png"))) >= 2

    # Again: nothing is trained, the report is the same.
    records = {path: path.stat().st_mtime_ns for path in workdir.glob("*/seed_*/record.json")}
    again = succeeds(*command)
    assert sum("already finished" in line for line in again.splitlines()) == 4
    assert sum("already diverged" in line for line in again.splitlines()) == 2
    assert all(path.stat().st_mtime_ns == time_ns for path, time_ns in records.items())

    # `lbkeras report` renders what was deleted.
    (workdir / "report.md").unlink()
    succeeds("report", f"--workdir={workdir}")
    assert "increase_batch" in (workdir / "report.md").read_text()


def test_the_workdir_of_other_arms(command, tmp_path, fails, smith):
    (tmp_path / "w").mkdir()
    (tmp_path / "w" / "replication.json").write_text('{"arms": {"original": {}, "hybrid": {}}}')
    assert fails(*command) == (
        f"workdir {tmp_path / 'w'}: expected the arms it was started with (original, hybrid), "
        "received original, diverging, increase_batch; use another --workdir"
    )


def test_the_workdir_of_a_single_run_is_left_alone(command, run_copy, fails):
    before = sorted(run_copy.iterdir())
    assert fails(*command, f"--workdir={run_copy}") == (
        f"workdir {run_copy}: expected the folder of a replication, received a single run's; use "
        "another --workdir"
    )
    assert sorted(run_copy.iterdir()) == before


def test_a_micro_batch_that_is_too_large_for_an_arm_names_the_arm(command, tmp_path, fails):
    assert fails(*command, "--micro_batch_size=71") == (
        "arm original: micro_batch_size: expected at most 70 (the largest batch of a replica), "
        "received 71"
    )
    assert not (tmp_path / "w" / "original").exists()


def test_a_run_of_another_config_is_found_before_any_training(command, tmp_path, fails):
    folder = tmp_path / "w" / "increase_batch" / "seed_11"
    folder.mkdir(parents=True)
    (folder / "config.json").write_text('{"arm": "increase_batch", "seed": 11, "data": {}}')
    assert "(data.name=None), received data.name='digits'" in fails(*command)
    assert not (tmp_path / "w" / "original").exists()


def _described(path, *overrides):
    """Returns what a replication of a config's arms would write to its folder."""
    arguments = ["replicate", f"--config={path}", *overrides]
    command = CommandFlags("", arguments)
    command.config()
    define_training_flags(command)
    flags = command.parse()
    module = config_module(flags["config"].config_filename)
    return describe_replication(flags, arguments, module, list(flags.config.arms), [0])


def test_targets_and_a_reference_go_into_the_folder():
    described = _described("mlperf2024_resnet50:imagenet", "--config.targets.val_loss=1.5")
    assert described["targets"] == ["val_accuracy_at_least_0.759", "val_loss_at_most_1.5"]
    reference = described["reference"]
    assert reference["points"]["resnet50_lars_8192"]["epochs"] == 42
    assert reference["target"] == "val_accuracy_at_least_0.759" and len(reference["points"]) == 12
    assert "reference" not in _described("mlperf2024_resnet50:digits")


@pytest.mark.parametrize(
    ("returned", "message"),
    [
        ("dict(epochs={})", "reference: expected the keys source, tag, target, epochs, received"),
        ("1 / 0", "ZeroDivisionError: division by zero"),
    ],
)
def test_an_unusable_reference_is_one_line(tmp_path, returned, message):
    text = f"{CONFIG}\n\ndef get_reference(variant=''):\n    return {returned}\n"
    (tmp_path / "bad_reference.py").write_text(text)
    with pytest.raises(UserError, match=f"bad_reference.py: get_reference: {message}"):
        _described(tmp_path / "bad_reference.py")


@pytest.mark.parametrize(
    ("docstring", "title"), [('"""Two of mine.\n\nMore."""', "Two of mine"), ("", "bare_config")]
)
def test_a_config_without_paper_and_claims(docstring, title, tmp_path):
    text = CONFIG.replace("def get_claims", "def no_claims").replace("PAPER =", "OTHER =")
    (tmp_path / "bare_config.py").write_text(docstring + text)
    described = _described(tmp_path / "bare_config.py")
    assert (described["title"], described["paper"], described["metric"]) == (
        title, {}, "val_accuracy"
    )  # fmt: skip
    claims = [(claim["arm"], claim["baseline"], claim["margin"]) for claim in described["claims"]]
    assert claims == [("diverging", "original", 0.01), ("increase_batch", "original", 0.01)]


@pytest.mark.parametrize(
    ("claims", "message"),
    [
        ("[claims[0] | dict(arm='increase')]", "arm: expected one of original, diverging, "),
        ("[claims[0] | dict(test='not_wors')]", "test: expected one of not_worse, worse, "),
        ("[claims[0] | dict(metric='val_acuracy', better='higher')]",
         "metric of increase_batch: expected one of accuracy, val_accuracy, loss, val_loss, "),
        ("[dict(name='x', statement='x', test='ratio_at_least', arm='original', ratio=2.0,"
         " baseline='increase_batch', metric='sharpness')]", "metric of original: expected one"),
        ("[3]", "claim: expected a dictionary, received 3"),
        ("3", "get_claims: expected a list, received 3"),
        ("[][0]", "get_claims: IndexError: list index out of range"),
    ],
)  # fmt: skip
def test_claims_are_checked_before_anything_is_trained(command, tmp_path, fails, claims, message):
    text = CONFIG.replace(
        "return [claim for claim in claims", "claims = [claim for claim in claims"
    )
    (tmp_path / "small.py").write_text(text + f"    return {claims}\n")
    assert message in fails(*command)
    assert not (tmp_path / "w").exists()


def test_no_seeds_in_the_config(command, fails):
    message = fails(*command[:-1], "--config.seeds=0")
    assert message == "config.seeds: expected a whole number from 1 to 1000000, received 0"


def test_a_workdir_below_a_file(command, tmp_path, fails):
    (tmp_path / "file").write_text("")
    message = fails(*command[:2], f"--workdir={tmp_path / 'file' / 'w'}")
    assert "expected a folder that can be written, received: Not a directory" in message


@pytest.mark.release  # the gate interrupts runs only: tests/cli/train_test.py, signals_test.py
@pytest.mark.parametrize(
    "number", [signal.SIGINT, pytest.param(signal.SIGTERM, marks=pytest.mark.release)]
)
def test_an_interrupted_replication_is_resumed(number, command, tmp_path, process, forked):
    command = (*command[:-1], "--seeds=1")
    first, second = (process, forked) if number == signal.SIGINT else (forked, process)
    first = first(*command)
    record = tmp_path / "w" / "diverging" / "seed_10" / "config.json"
    until = time.monotonic() + 200
    while not record.exists() and first.poll() is None and time.monotonic() < until:
        time.sleep(0.02)
    first.send_signal(number)
    _, error = first.communicate(timeout=120)
    assert first.returncode == 128 + number, (first.returncode, _, error)
    assert error.count("\n") == 1 and "run the same command again: lbkeras replicate" in error

    second = second(*command)
    output, error = second.communicate(timeout=300)
    assert (second.returncode, error) == (0, "")
    assert "claims: one seed cannot decide any;" in output
    assert "[1/3] original seed 10: already finished" in output
    assert (tmp_path / "w" / "report.md").exists()


@pytest.mark.release
def test_every_arm_of_smith_on_digits(tmp_path, smith, succeeds):
    flags = ["--config.plan.epochs=4", "--config.plan.boundaries=(1,2,3)", "--seeds=1"]
    output = succeeds("replicate", f"--config={smith}:digits", f"--workdir={tmp_path}", *flags)
    assert "[6/6] large_batch_naive seed 10: " in output
    assert len(list(tmp_path.glob("*/seed_*/model.keras"))) == 6
    report = (tmp_path / "report.md").read_text()
    assert all(arm in report for arm in ("hybrid", "increased_momentum", "large_batch_naive"))
