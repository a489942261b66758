"""The scripts in examples/ run unchanged and show what they promise."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.forked import Forked

ROOT = Path(__file__).parents[1]
EXAMPLES = sorted((ROOT / "examples").glob("*.py"))


def run(name: str, folder: Path) -> str:
    """Runs an example in an empty folder and returns what it prints."""
    done = subprocess.run(
        [sys.executable, ROOT / "examples" / name],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def numbers(pattern: str, text: str) -> list[float]:
    found = re.search(pattern, text)
    assert found, text
    return [float(each.replace(",", "")) for each in found.groups()]


def test_each_example_is_tried_here_and_says_how_it_is_run():
    text = Path(__file__).read_text(encoding="utf-8")
    for path in EXAMPLES:
        assert f'"{path.name}"' in text, path.name
        assert f"python examples/{path.name}\n" in path.read_text(encoding="utf-8")
    assert len(EXAMPLES) == 6


@pytest.mark.release  # what it uses is tested in the gate
def test_dict_inputs():
    process = Forked(script=ROOT / "examples" / "dict_inputs.py")
    said, errors = process.communicate(timeout=300)
    assert process.returncode == 0, said + errors
    assert f"batch sizes: {[32] * 6 + [64] * 3 + [128] * 3}" in said
    assert numbers(r"digit: +test accuracy ([\d.]+)", said)[0] > 90
    assert numbers(r"is_even: +test accuracy ([\d.]+)", said)[0] > 90
    done, planned = numbers(r"(\d+) updates, as the plan says: (\d+)", said)
    assert done == planned


@pytest.mark.release
def test_own_arrays(tmp_path):
    said = run("own_arrays.py", tmp_path)
    updates = numbers(r"own +([\d,]+) updates\nrecommended +([\d,]+) updates", said)
    assert updates[1] < updates[0]
    assert numbers(r"own +2 +([\d.]+) ±", said)[0] > 90
    assert re.search("(SUPPORTED|INCONCLUSIVE|NOT SUPPORTED): recommended keeps", said), said
    assert (tmp_path / "runs/own_arrays/report.md").is_file()
    again = run("own_arrays.py", tmp_path)  # resumes: finished runs stay
    assert again.split("own against recommended")[1] == said.split("own against recommended")[1]


@pytest.mark.release
def test_subclassed_model(tmp_path):
    said = run("subclassed_model.py", tmp_path)
    assert f"batch sizes: {[16] * 5 + [32] * 5 + [64] * 5 + [128] * 5}" in said
    first, last = numbers(r"test pixel: ([\d.]+) to ([\d.]+)", said)
    assert last < 0.6 * first
    assert "830 updates" in said  # 5 * (1437 // 16 + 1437 // 32 + 1437 // 64 + 1437 // 128)


@pytest.mark.release
def test_transfer_learning(tmp_path):
    said = run("transfer_learning.py", tmp_path)
    (before,) = numbers(r"test accuracy ([\d.]+) % before", said)
    (after,) = numbers(r"and ([\d.]+) % after", said)
    assert before < 50 and after > 75


@pytest.mark.release
def test_text_transformer(tmp_path):
    said = run("text_transformer.py", tmp_path)
    first, last = numbers(r"held-out text: ([\d.]+) to ([\d.]+) bits", said)
    assert last < 3.6 < first


@pytest.mark.release
def test_resume_after_kill(tmp_path):
    said = run("resume_after_kill.py", tmp_path)
    assert "(killed)" in said
    assert "starts at epoch 3" in said
    assert "the same, bit for bit" in said
