"""Damaged files, and folders in place of files, are reported in one line that names the path."""

import json

import pytest

DEEP = '{"a":' * 100_000
RUN = {"epoch": 0, "loss": 1.0, "val_loss": 1.0, "val_accuracy": 0.9, "updates": 10,
       "examples_seen": 100, "batch_size": 10, "learning_rate": 0.1, "seconds": 3.0}  # fmt: skip
RECORD = {"status": "finished", "updates": 10, "examples_seen": 100, "seconds": 3.0, "epochs": 1,
          "final": {"loss": 1.0, "val_accuracy": 0.9}}  # fmt: skip
REPLICATION = {"arms": {"a": {}}, "seeds": [0], "metric": "val_accuracy"}

# File, content (None: a folder; a dict: changes to a valid file), part of the expected line.
OF_REPORTS = [
    ("replication.json", None, "received: Is a directory"),
    ("replication.json", "", "expected a JSON object"),
    ("replication.json", "[]", "expected a JSON object, received list"),
    ("replication.json", DEEP, "nested too deeply"),
    ("replication.json", '{"seeds":' + "9" * 5000 + "}", "too long a number"),
    ("replication.json", {"format": 99}, "expected a format from 0 to"),
    ("replication.json", {"format": "x"}, "expected a format from 0 to"),
    ("replication.json", {"arms": "x"}, "'arms'"),
    ("replication.json", {"arms": {}}, "'arms'"),
    ("replication.json", {"arms": {"a": "x"}}, "expected an object in 'a'"),
    ("replication.json", {"arms": {"../a": {}}}, "'../a'"),
    ("replication.json", {"arms": {"a": {"description": 3}}}, "expected text in 'description'"),
    ("replication.json", {"arms": {"a": {"paper": "x"}}}, "expected an object in 'paper'"),
    ("replication.json", {"paper": "x"}, "expected an object in 'paper'"),
    ("replication.json", {"paper": {"citation": 3}}, "expected text in 'citation'"),
    ("replication.json", {"metric": ["x"]}, "['x']"),
    ("replication.json", {"title": [3]}, "expected text in 'title'"),
    ("replication.json", {"config": 3}, "expected text in 'config'"),
    ("replication.json", {"plans": "x"}, "expected an object in 'plans'"),
    ("replication.json", {"plans": {"a": "x"}}, "expected an object in 'a'"),
    ("replication.json", {"plans": {"a": {"phases": "x"}}}, "expected a list in 'phases'"),
    ("replication.json", {"plans": {"a": {"phases": [3]}}}, "expected an object in 'phases'"),
    ("replication.json", {"plans": {"a": {"updates": "x"}}}, "expected a number in 'updates'"),
    ("replication.json", {"claims": "x"}, "expected a list in 'claims'"),
    ("replication.json", {"claims": [3]}, "claim: expected a dictionary"),
    ("replication.json", {"seeds": "x"}, "'seeds'"),
    ("replication.json", {"seeds": [True]}, "as seeds, received 'True'"),
    ("replication.json", {"seeds": [-1]}, "as seeds, received '-1'"),
    ("replication.json", {"seeds": [0, 0]}, "as seeds, received '0'"),
    ("replication.json", {"seeds": [2**32]}, "as seeds, received '4294967296'"),
    ("a/seed_0/record.json", None, "received: Is a directory"),
    ("a/seed_0/record.json", "{", "malformed or truncated JSON"),
    ("a/seed_0/record.json", DEEP, "nested too deeply"),
    ("a/seed_0/record.json", {"format": -1}, "expected a format from 0 to"),
    ("a/seed_0/record.json", {"status": "foo"}, "expected a status of finished"),
    ("a/seed_0/record.json", {"status": None}, "expected a status of finished"),
    ("a/seed_0/record.json", {"status": ["x"]}, "expected a status of finished"),
    ("a/seed_0/record.json", {"final": [1]}, "expected an object in 'final'"),
    ("a/seed_0/record.json", {"final": {}}, "expected the metric 'val_accuracy'"),
    ("a/seed_0/record.json", {"final": {"val_accuracy": "x"}}, "number in 'val_accuracy'"),
    ("a/seed_0/record.json", {"final": {"val_accuracy": 10**400}}, "number in 'val_accuracy'"),
    ("a/seed_0/record.json", {"updates": "x"}, "expected a number in 'updates'"),
    ("a/seed_0/record.json", {"seconds": {}}, "expected a number in 'seconds'"),
    ("a/seed_0/record.json", {"epochs": True}, "expected a number in 'epochs'"),
    ("a/seed_0/record.json", {"hardware": "x"}, "expected an object in 'hardware'"),
    ("a/seed_0/record.json", {"started": 3}, "expected text in 'started'"),
    ("a/seed_0/record.json", {"error": [3]}, "expected text in 'error'"),
    ("a/seed_0/history.jsonl", None, "received: Is a directory"),
    ("a/seed_0/history.jsonl", "{\n", "line 1: expected a JSON object"),
    ("a/seed_0/history.jsonl", "[1]\n", "line 1: expected a JSON object, received list"),
    ("a/seed_0/history.jsonl", DEEP + "\n", "line 1: expected a JSON object, received one nested"),
    ("a/seed_0/history.jsonl", "\0\n", "line 1: expected a JSON object"),
    ("a/seed_0/history.jsonl", "{}\n", "line 1: expected a whole number in 'epoch'"),
    ("a/seed_0/history.jsonl", {"epoch": "x"}, "line 1: expected a number in 'epoch'"),
    ("a/seed_0/history.jsonl", {"val_accuracy": "x"}, "line 1: expected a number in 'val_acc"),
    ("a/seed_0/history.jsonl", {"learning_rate": [1]}, "line 1: expected a number in 'learning"),
    ("a/seed_0/history.jsonl", {"loss": 10**400}, "line 1: expected a number in 'loss'"),
    ("a/seed_0/plan.json", "[]", "expected a JSON object, received list"),
    ("a/seed_0/plan.json", None, "received: Is a directory"),
]  # fmt: skip
OF_RUNS = [
    ("config.json", None, "received: Is a directory"),
    ("config.json", "", "expected a JSON object"),
    ("config.json", "3", "expected a JSON object, received int"),
    ("config.json", DEEP, "nested too deeply"),
    ("config.json", "{}", "expected the config it was started with"),
    (".lock", None, "received: Is a directory"),
    ("record.json", None, "received: Is a directory"),
    ("record.json", "{", "malformed or truncated JSON"),
    ("record.json", '{"status": "foo"}', "expected a status of finished"),
    ("record.json", '{"status": "died", "sessions": "x"}', "expected a number in 'sessions'"),
    ("record.json", '{"format": 99}', "expected a format from 0 to"),
    ("plan.json", None, "received: Is a directory"),
    ("micro_batch.json", "[1]", "expected JSON"),
    ("micro_batch.json", DEEP, "expected JSON"),
    ("history.jsonl", None, "received: Is a directory"),
    ("history.jsonl", "{}\n", "line 1: expected a whole number in 'epoch'"),
    ("checkpoints", "", "received: File exists"),
    ("tensorboard", "", "received: Not a directory"),
]


def damage(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    if content is None:
        path.unlink(missing_ok=True)
        path.mkdir()
    else:
        path.write_text(content)


@pytest.mark.parametrize(("name", "content", "expected"), OF_REPORTS, ids=lambda v: str(v)[:30])
def test_report_names_the_damaged_file(name, content, expected, fails, tmp_path):
    good = {"replication.json": REPLICATION, "a/seed_0/record.json": RECORD,
            "a/seed_0/history.jsonl": RUN}  # fmt: skip
    for each, value in good.items():
        damage(tmp_path / each, json.dumps(value) + "\n")
    if isinstance(content, dict):
        content = json.dumps(good[name] | content) + "\n"
    damage(tmp_path / name, content)
    line = fails("report", f"--workdir={tmp_path}")
    assert line.startswith(str(tmp_path / name)) and expected in line and "expected" in line
    assert not (tmp_path / "report.md").exists()


@pytest.mark.parametrize(("name", "content", "expected"), OF_RUNS, ids=lambda v: str(v)[:30])
def test_train_names_the_damaged_file(name, content, expected, fails, tiny, tmp_path):
    damage(tmp_path / "run" / name, content)
    line = fails("train", *tiny, f"--workdir={tmp_path / 'run'}")
    assert str(tmp_path / "run") in line and expected in line and "expected" in line


@pytest.mark.release  # the gate: tests/cli/train_test.py resumes a killed run
def test_the_same_command_resumes_once_the_fault_is_fixed(fails, succeeds, tiny, tmp_path):
    run, command = tmp_path / "run", ("train", *tiny, f"--workdir={tmp_path / 'run'}")
    for name in ("record.json", "plan.json", "history.jsonl", "model.keras"):
        damage(run / name, None)
        assert fails(*command).startswith(f"{run / name}: expected")
        (run / name).rmdir()
    assert "test accuracy " in succeeds(*command)
