"""`lbkeras init` and configs/own_model.py, which people copy."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
OWN_MODEL = ROOT / "configs" / "own_model.py"


def test_it_writes_what_is_in_configs(tmp_path, monkeypatch, succeeds, fails):
    monkeypatch.chdir(tmp_path)
    said = succeeds("init")
    assert said.startswith("own_model.py: written; ")
    assert Path("own_model.py").read_text() == OWN_MODEL.read_text()
    assert succeeds("init", "--write=other.py")
    assert Path("other.py").read_text() == OWN_MODEL.read_text().replace("own_model", "other")
    assert fails("init") == (
        "--write: expected a new file, received 'own_model.py', which already exists"
    )
    assert Path("own_model.py").read_text() == OWN_MODEL.read_text()


@pytest.mark.parametrize("file", ["a", "no/a.py"])
def test_where_no_config_can_be_written(file, tmp_path, monkeypatch, fails):
    monkeypatch.chdir(tmp_path)
    assert fails("init", f"--write={file}").startswith("--write: expected a f")


def test_it_is_short():
    lines = [line for line in OWN_MODEL.read_text().splitlines() if line]
    assert len(lines) <= 26


IMPORTED = """
import sys
from lbkeras.cli.main import main
assert main(["plan", "--config=copied.py"]) == 0
assert not {"tensorflow", "keras", "sklearn", "copied"} & set(sys.modules)
"""


def test_a_copy_is_planned_without_its_modules(tmp_path):
    shutil.copy(OWN_MODEL, tmp_path / "copied.py")
    done = subprocess.run(
        [sys.executable, "-c", IMPORTED], cwd=tmp_path, capture_output=True, text=True,
        env={"PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "large  " in done.stdout and "220 updates  8.09x fewer" in done.stdout


def test_a_copy_is_trained(tmp_path, succeeds):
    shutil.copy(OWN_MODEL, tmp_path / "copied_model.py")
    output = succeeds(
        "train", f"--config={tmp_path / 'copied_model.py'}", f"--workdir={tmp_path / 'run'}",
        "--arm=large", "--config.plan.epochs=2", "--config.model.width=8",
    )  # fmt: skip
    assert "large, seed 0: test accuracy " in output
