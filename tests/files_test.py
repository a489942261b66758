"""After a failed write a file is either the old or the new one."""

import json
import os
import subprocess

import pytest

from lbkeras import files
from lbkeras.errors import UserError
from tests.disk import largest_file


def test_json_round_trips(tmp_path):
    files.write_json(tmp_path / "a.json", {"x": [1, 2.5, None]})
    assert json.loads((tmp_path / "a.json").read_text()) == {"x": [1, 2.5, None]}


def test_a_failed_write_names_the_file_and_leaves_the_old_one_and_nothing_else(tmp_path):
    path = tmp_path / "a.bin"
    files.write_atomically(path, b"old")
    with largest_file(1000), pytest.raises(OSError) as raised:
        files.write_atomically(path, b"new" * 1000)
    assert raised.value.filename == str(path)
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["a.bin"]
    assert files.in_words(raised.value) == (
        f"{path}: expected a place that can be read and written, received: File too large"
    )


@pytest.mark.parametrize(
    ("place", "received"),
    [("nowhere/a", "No such file"), ("file/a", "Not a directory"), ("x" * 300, "name too long"),
     ("folder", "Is a directory")],
)  # fmt: skip
def test_a_place_that_cannot_be_written_is_named(place, received, tmp_path):
    (tmp_path / "file").write_text("")
    (tmp_path / "folder").mkdir()
    with pytest.raises(OSError, match=received) as raised:
        files.write_atomically(tmp_path / place, b"")
    assert raised.value.filename == str(tmp_path / place)
    assert sorted(os.listdir(tmp_path)) == ["file", "folder"]


def test_temporary_files_of_dead_writers_are_removed_and_no_others(tmp_path):
    with subprocess.Popen(["true"]) as dead:
        dead.wait()
    with subprocess.Popen(["sleep", "60"]) as live:
        names = {
            f".a.npz.{dead.pid}.tmp": False,
            f".a.npz.{os.getpid()}.tmp": False,  # of an earlier process with our PID
            f".a.npz.{10**30}.tmp": False,
            f".a.npz.{live.pid}.tmp": True,
            ".a.npz.tmp": True,
            "a.npz": True,
        }
        for name in names:
            (tmp_path / name).write_text("")
        files.remove_left_over(tmp_path)
        assert {name: (tmp_path / name).exists() for name in names} == names
        live.kill()


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", "line 1: expected a JSON object, received malformed or truncated JSON"),
        (b'{\n"a":', "line 2: expected a JSON object, received malformed or truncated JSON"),
        (b"[1]", "expected a JSON object, received list"),
        (b"null", "expected a JSON object, received NoneType"),
        (b"\xff", "expected UTF-8 text, received invalid start byte"),
        (b'{"a":' * 100_000, "expected a JSON object, received one nested too deeply"),
        (b'{"a":' + b"9" * 5000 + b"}", "expected a JSON object, received too long a number"),
    ],
)
def test_malformed_json_is_named(content, expected, tmp_path):
    (tmp_path / "a.json").write_bytes(content)
    with pytest.raises(UserError) as raised:
        files.read_json_object(tmp_path / "a.json")
    assert str(raised.value).startswith(f"{tmp_path / 'a.json'}") and expected in str(raised.value)


def test_json_that_is_not_there(tmp_path):
    assert files.read_json_object(tmp_path / "a.json", missing={}) == {}
    with pytest.raises(UserError, match="expected a file, found none"):
        files.read_json_object(tmp_path / "a.json")
    with pytest.raises(UserError, match="received: Is a directory"):
        files.read_json_object(tmp_path, missing={})


def test_a_value_that_is_not_json_leaves_the_old_file(tmp_path):
    path = tmp_path / "a.json"
    files.write_json(path, {"x": 1})
    with pytest.raises(TypeError):
        files.write_json(path, {"x": object()})
    assert json.loads(path.read_text()) == {"x": 1}
