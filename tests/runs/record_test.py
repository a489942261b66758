import json
import os

import pytest

from lbkeras.errors import UserError
from lbkeras.replication import (
    RunFolder,
    append_history_row,
    read_history,
    read_record,
    read_run,
    truncate_history,
    write_record,
)
from lbkeras.runs import run_lock
from tests.disk import largest_file


def fill(path, epochs):
    for epoch in range(epochs):
        append_history_row(path, {"epoch": epoch, "loss": 1.0 / (epoch + 1)})


def test_rows_come_back_in_order(tmp_path):
    path = tmp_path / "history.jsonl"
    fill(path, 3)
    assert read_history(path) == [{"epoch": e, "loss": 1.0 / (e + 1)} for e in range(3)]


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_values_that_are_not_finite_are_null(tmp_path, value):
    path = tmp_path / "history.jsonl"
    append_history_row(path, {"epoch": 0, "loss": value})
    assert path.read_text() == '{"epoch": 0, "loss": null}\n'
    assert read_history(path) == [{"epoch": 0, "loss": None}]


def test_numpy_scalars_are_numbers(tmp_path):
    np = pytest.importorskip("numpy")
    append_history_row(tmp_path / "h", {"epoch": np.int64(2), "loss": np.float32(0.5)})
    assert read_history(tmp_path / "h") == [{"epoch": 2, "loss": 0.5}]


def test_nan_written_by_others_is_read_as_none(tmp_path):
    (tmp_path / "h").write_text('{"epoch": 0, "loss": NaN}\n')
    assert read_history(tmp_path / "h") == [{"epoch": 0, "loss": None}]


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ('{"epoch": 0}\n{"epoch": \n{"epoch": 2}\n', 2),
        ('{"epoch": 0}\n{"epoch": 1}\n{"epoch": 2, "lo', 3),
        ("[1]\n", 1),
        ('{"epoch": 0}\n\n', 2),
    ],
)
def test_a_malformed_line_is_named(tmp_path, text, line):
    path = tmp_path / "history.jsonl"
    path.write_text(text)
    with pytest.raises(UserError, match=rf"history\.jsonl, line {line}: expected a JSON object"):
        read_history(path)


def test_a_missing_history_is_named(tmp_path):
    with pytest.raises(UserError, match=r"none\.jsonl: expected a history"):
        read_history(tmp_path / "none.jsonl")


@pytest.mark.parametrize("torn", ["", '{"epoch": 3, "lo'])
@pytest.mark.parametrize("epochs", [0, 2, 3, 9])
def test_truncate_keeps_the_first_epochs(tmp_path, torn, epochs):
    path = tmp_path / "history.jsonl"
    fill(path, 3)
    path.write_text(path.read_text() + torn)
    truncate_history(path, epochs)
    assert [row["epoch"] for row in read_history(path)] == list(range(min(epochs, 3)))
    append_history_row(path, {"epoch": epochs})
    assert read_history(path)[-1] == {"epoch": epochs}


def test_truncate_of_no_history_does_nothing(tmp_path):
    truncate_history(tmp_path / "history.jsonl", 3)
    assert list(tmp_path.iterdir()) == []


def test_truncate_names_a_damaged_line_and_leaves_the_file(tmp_path):
    path = tmp_path / "history.jsonl"
    path.write_text('{"epoch": 0}\nrubbish\n{"epoch": 2}\n')
    with pytest.raises(UserError, match="line 2"):
        truncate_history(path, 1)
    assert len(path.read_text().splitlines()) == 3


def test_truncate_interrupted_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "history.jsonl"
    fill(path, 3)
    before = path.read_bytes()

    def fail(*_):
        raise OSError("killed")

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(OSError, match="killed"):
        truncate_history(path, 1)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_record_round_trips(tmp_path):
    write_record(tmp_path, {"status": "diverged", "final": {"loss": float("nan")}})
    assert json.loads((tmp_path / "record.json").read_text())["final"] == {"loss": None}
    run = read_run(tmp_path)
    assert (run.status, run.value("loss"), run.plan, run.history) == ("diverged", None, {}, [])


def test_a_record_has_its_format_and_one_without_is_of_0_1_0(tmp_path):
    record = {"status": "finished"}
    assert write_record(tmp_path, record) == {"format": 1, "status": "finished"}
    assert read_record(tmp_path) == {"format": 1, "status": "finished"}
    (tmp_path / "record.json").write_text(json.dumps(record))
    assert read_run(tmp_path).record == record


@pytest.mark.parametrize("received", [2, -1, "1", True, None, 1.0])
def test_an_unknown_format_is_refused(tmp_path, received):
    (tmp_path / "record.json").write_text(json.dumps({"format": received, "status": "finished"}))
    message = rf"record\.json: expected a format from 0 to 1.*, received {received!r}"
    with pytest.raises(UserError, match=message) as raised:
        read_run(tmp_path)
    assert str(raised.value).endswith("; a newer lbkeras wrote it") == (received == 2)


def test_a_folder_that_does_not_exist_is_a_run_not_run(tmp_path):
    assert read_run(tmp_path / "seed_0").status == "not run"


def test_a_torn_last_line_is_left_out_of_a_running_run_only(tmp_path):
    (tmp_path / "history.jsonl").write_text('{"epoch": 0}\n{"epo')
    write_record(tmp_path, {"status": "running"})
    assert read_run(tmp_path).history == [{"epoch": 0}]
    write_record(tmp_path, {"status": "finished"})
    with pytest.raises(UserError, match="line 2"):
        read_run(tmp_path)


def test_a_malformed_record_names_file_and_line(tmp_path):
    (tmp_path / "record.json").write_text('{\n  "status": "finished",\n  oops\n}')
    with pytest.raises(UserError, match=r"record\.json, line 3: expected a JSON object"):
        read_run(tmp_path)


def test_an_unknown_status_is_named(tmp_path):
    write_record(tmp_path, {"status": "done"})
    with pytest.raises(UserError, match="expected a status of finished, .* received 'done'"):
        read_run(tmp_path)


def test_an_unknown_metric_is_named(tmp_path):
    write_record(tmp_path, {"status": "finished", "final": {"loss": 1.0}, "updates": 3})
    run = read_run(tmp_path)
    assert (run.value("loss"), run.value("updates")) == (1.0, 3)
    with pytest.raises(UserError, match="the metric 'val_accuracy', received only .*loss"):
        run.value("val_accuracy")


@pytest.mark.parametrize(
    ("metric", "record", "data", "expected"),
    [
        ("val_accuracy", {"test_examples": 77}, {"name": "digits", "test_split": "test"}, 77),
        ("val_accuracy", {}, {"name": "digits", "test_split": "test"}, 360),
        ("val_accuracy", {}, {"name": "mnist", "test_split": "test"}, 10_000),
        ("val_accuracy", {}, {"name": "digits", "test_split": "train[80%:]"}, None),
        ("val_accuracy", {}, None, None),
        ("val_accuracy", {"test_examples": "many"}, None, None),
        ("accuracy", {}, None, 1437),
        ("val_loss", {"test_examples": 77}, None, None),
    ],
)
def test_the_number_of_examples_behind_an_accuracy(tmp_path, metric, record, data, expected):
    if data:
        (tmp_path / "config.json").write_text(json.dumps({"data": data}))
    run = RunFolder(tmp_path, {"num_examples": 1437}, record, [])
    assert run.examples(metric) == expected


def test_a_run_that_died_is_not_running(tmp_path):
    write_record(tmp_path, {"status": "running"})
    assert read_run(tmp_path).status == "died"
    with run_lock.locked(tmp_path):
        assert read_run(tmp_path).status == "running"
    assert read_run(tmp_path).status == "died"


def test_a_row_that_does_not_fit_on_the_disk_is_not_half_written(tmp_path):
    path = tmp_path / "history.jsonl"
    append_history_row(path, {"epoch": 0})
    with largest_file(50), pytest.raises(OSError) as raised:
        append_history_row(path, {"epoch": 1, "loss": "x" * 100})
    assert raised.value.filename == str(path)
    assert read_history(path) == [{"epoch": 0}]
