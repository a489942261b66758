"""The README's examples run as printed, one after the other."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.mark.slow
def test_the_examples_train():
    text = (ROOT / "README.md").read_text()
    code, toolbox, adaptive, pieces = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    assert len([line for line in code.splitlines() if line.strip()]) <= 12
    checked = code + (
        "\nhistory = model.history.history"
        "\nassert history['batch_size'] == [16] * 5 + [48] * 5 + [143] * 5, history['batch_size']"
        "\nassert int(model.optimizer.iterations) == plan.updates()"
        "\nassert history['val_accuracy'][-1] > 0.9, history['val_accuracy']\n"
    )
    checked += toolbox + (
        "\nhistory = model.history.history"
        "\nassert history['loss'][-1] < history['loss'][0], history['loss']"
        "\nassert 'trust_ratio/hidden' in history, list(history)\n"
    )
    # When the batch grows, and how far, depends on the first weights.
    checked += (
        "\nkeras.utils.set_random_seed(0)\n"
        + adaptive
        + (
            "\nsizes = [row['batch_size'] for row in adaptive.decisions]"
            "\nassert sizes[0] == 8 and sizes[-1] > 8, sizes"
            "\nassert int(model.optimizer.iterations) == sum(1437 // size for size in sizes)\n"
        )
    )
    checked += pieces + (
        "\nassert model.history.history['loss'][-1] < model.history.history['loss'][0]"
        "\nassert int(model.optimizer.iterations) == 3 * (1437 // 512)"
    )
    run = subprocess.run(
        [sys.executable, "-c", checked], cwd=ROOT, capture_output=True, text=True, timeout=300
    )
    assert run.returncode == 0, run.stdout + run.stderr


def test_the_scripts_it_names_exist():
    for script in re.findall(r"bash (tools/\S+\.sh)", (ROOT / "README.md").read_text()):
        assert (ROOT / script).is_file()
