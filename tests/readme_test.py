"""The examples in the README and in the guides run as printed."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.forked import Forked

ROOT = Path(__file__).parents[1]

# For each guide's example, code to run before it and assertions to run after it.
CHECKS = {
    # When and how far the batch grows depends on the initial weights.
    "start": (
        "keras.utils.set_random_seed(0)",
        "assert history['batch_size'][0] == 16 < history['batch_size'][-1], history",
        "assert history['val_accuracy'][-1] > 0.9, history",
        "assert adaptive.decisions[-1]['reason']",
    ),
    "which_method": (
        "",
        "assert history['loss'][-1] < history['loss'][0], history",
        "assert 'trust_ratio/hidden' in history, list(history)",
    ),
    "own_model": (
        "",
        "assert history['batch_size'] == [16] * 5 + [48] * 5 + [143] * 5, history",
        "assert int(model.optimizer.iterations) == plan.updates()",
        "assert history['val_accuracy'][-1] > 0.9, history",
    ),
    "resume": (
        "",
        "assert checkpoint.restore(model) == 3",
    ),
    "devices": (
        "",
        "assert history['loss'][-1] < history['loss'][0], history",
        "assert int(model.optimizer.iterations) == 3 * (1437 // 512)",
    ),
}


def blocks(page: str) -> list[str]:
    return re.findall(r"```python\n(.*?)```", (ROOT / page).read_text(), re.DOTALL)


@pytest.mark.release  # in the gate the callbacks' and Pipeline's own tests
def test_the_guides_examples_train(tmp_path):
    code = "import keras\n"
    for page, (before, *checks) in CHECKS.items():
        (example,) = blocks(f"docs/{page}.md")
        code += "\n".join([before, example, *checks, ""])
    script = tmp_path / "guides.py"
    script.write_text(code)
    process = Forked(script=script)
    said = process.communicate(timeout=300)
    assert process.returncode == 0, "".join(said)


def test_no_other_guide_has_an_example():
    pages = {path.stem for path in (ROOT / "docs").glob("*.md") if blocks(f"docs/{path.name}")}
    assert pages == set(CHECKS)


@pytest.mark.release
def test_the_readmes_example(tmp_path):
    answers, fit = blocks("README.md")
    beyond = re.sub(r"^def make_model.*?\n\n", "", answers, flags=re.DOTALL | re.MULTILINE)
    assert len([line for line in beyond.splitlines() if line.strip()]) <= 12
    done = subprocess.run(
        [sys.executable, "-c", answers + fit],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    said = done.stdout
    assert "recommended" in said and re.search("SUPPORTED|INCONCLUSIVE", said), said
    assert (tmp_path / "runs/digits/report.md").is_file()


def test_the_scripts_it_names_exist():
    for script in re.findall(r"bash (tools/\S+\.sh)", (ROOT / "README.md").read_text()):
        assert (ROOT / script).is_file()
