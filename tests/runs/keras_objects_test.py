"""A saved model opens in a process that has only imported keras and lbkeras."""

import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest

import lbkeras
from lbkeras import layers, optimizers, schedules
from lbkeras.runs import keras_objects


@pytest.fixture
def saved(tmp_path):
    model = keras.Sequential(
        [
            keras.Input((8,)),
            layers.GhostBatchNormalization(4),
            keras.layers.Dense(4),
            layers.ShakeDrop(),
            layers.OrthonormalClassifier(4),
            layers.HadamardClassifier(2),
        ]
    )
    curve = schedules.warm_up(schedules.linear_to_zero(0.1, epochs=4), 1, 0.0)
    rate = schedules.EpochLearningRateSchedule(curve, [(0, 0, 2)])
    model.compile(optimizers.LARS(rate), "mse")
    model.fit(np.ones((8, 8), np.float32), np.ones((8, 2), np.float32), verbose=0)
    model.save(tmp_path / "model.keras")
    return tmp_path / "model.keras"


@pytest.mark.release  # the gate: tests/callbacks/saved_files_test.py::test_in_another_process
def test_a_saved_model_opens_in_a_new_process(saved):
    code = f"import keras, lbkeras\nprint(keras.models.load_model({str(saved)!r}).optimizer.name)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300)
    assert run.stdout.strip() == "lars", run.stderr


def test_lbkeras_alone_does_not_import_keras():
    code = "import lbkeras.planning, sys\nprint('keras' in sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300)
    assert run.stdout.strip() == "False", run.stderr


def test_every_module_that_registers_a_class_is_imported():
    root = Path(lbkeras.__file__).parent
    registering = {
        path.relative_to(root).with_suffix("").as_posix().replace("/", ".")
        for path in root.rglob("*.py")
        if "\n@keras.saving.register_keras_serializable" in path.read_text()
    }
    assert registering == set(keras_objects._MODULES)
