"""`lbkeras doctor`: what it finds and what it reports as missing."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import lbkeras
from lbkeras.cli.main import main
from lbkeras.runs import machine


def test_nothing_is_missing(succeeds, tmp_path):
    folder = tmp_path / "mnist" / "3.0.1"
    folder.mkdir(parents=True)
    (folder / "dataset_info.json").write_text(json.dumps({"name": "mnist"}))
    output = succeeds("doctor", f"--data_dir={tmp_path}")
    assert output.endswith("\nnothing that lbkeras needs is missing\n")
    assert output.startswith("backend\n  tensorflow")
    for name, version in machine.versions().items():
        assert [name, version] in [line.split() for line in output.splitlines()]
    assert "  CPU:0\n" in output
    assert "  digits (embedded)\n" in output
    assert "  mnist/3.0.1\n" in output


def test_without_data_sets_says_where_it_looked(succeeds, tmp_path):
    assert f"none prepared by TFDS in {tmp_path}\n" in succeeds("doctor", f"--data_dir={tmp_path}")
    there = tmp_path / "nowhere"
    output = succeeds("doctor", f"--data_dir={there}")
    assert f"none prepared by TFDS in {there}, which does not exist\n" in output


def test_something_missing_is_named_and_fails(capsys, monkeypatch, tmp_path):
    monkeypatch.setitem(machine._PACKAGES, "tensorflow", ("tensorflow", "no-such-package"))
    assert main(["doctor", f"--data_dir={tmp_path}"]) == 1
    output = capsys.readouterr().out
    assert "missing: no-such-package; install it with `pip install no-such-package`" in output
    assert "is missing\n" not in output


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("raise OSError('libcudart.so.12: cannot open')", "received OSError: libcudart.so.12: can"),
        ("raise ImportError", "received ImportError"),
        ("x = 1", "received AttributeError: module 'tensorflow' has no attribute 'config'"),
    ],
)
def test_a_broken_tensorflow_is_shown_and_the_rest_too(content, expected, tmp_path):
    (tmp_path / "tensorflow").mkdir()
    (tmp_path / "tensorflow" / "__init__.py").write_text(content)
    root = str(Path(lbkeras.__file__).parents[1])
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(tmp_path), root])}
    run = subprocess.run(
        [sys.executable, "-m", "lbkeras", "doctor"], env=environment, capture_output=True, text=True
    )
    assert run.returncode == 1 and "Traceback" not in run.stderr
    assert "broken: tensorflow: expected one that can be imported" in run.stdout
    assert expected in run.stdout and "digits (embedded)" in run.stdout
