"""If Keras lacks a private name, only what needs it fails, with a one-line error."""

import subprocess
import sys

import pytest

from lbkeras.keras_internals.names import SUPPORTED

BEGINNING = """
import sys
import keras
import numpy as np
import tensorflow as tf
ending = ".data_adapters.data_adapter"
data_adapter = next(module for name, module in sys.modules.items() if name.endswith(ending))
"""
WITHOUT_ADAPTER = """
hidden = vars(data_adapter).pop("DataAdapter")
import lbkeras
from lbkeras import callbacks, data, layers, models, optimizers, planning, trainers
callbacks.BatchSizeScheduler, data.Pipeline, trainers.GradientStatistics  # load what reads it
data_adapter.DataAdapter = hidden  # Keras itself reads it in `fit`
model = models.mlp((8, 8, 1), 2)
model.compile(optimizers.LARS(0.1), keras.losses.SparseCategoricalCrossentropy(from_logits=True))
model.fit(np.ones((4, 8, 8, 1)), np.ones(4), verbose=0)  # nothing here needs it
lbkeras.data.Pipeline((np.ones((4, 8)), np.ones(4)), 2)
"""
WITHOUT_FUNCTION = """
for kind in keras.Model.__mro__:
    if "_make_function" in vars(kind):
        del kind._make_function
import lbkeras
tf.config.set_logical_device_configuration(
    tf.config.list_physical_devices("CPU")[0], [tf.config.LogicalDeviceConfiguration()] * 2)
lbkeras.data.Pipeline((np.ones((4, 8)), np.ones(4)), 2)
lbkeras.distribution.strategy("one")
lbkeras.distribution.strategy("mirrored")
"""


@pytest.mark.release  # the gate: names_test.py
@pytest.mark.parametrize(
    "program, name",
    [
        (WITHOUT_ADAPTER, "DataAdapter"),
        (WITHOUT_FUNCTION, "Model._make_function"),
    ],
)
def test_only_what_needs_the_name_is_refused(program, name):
    arguments = [sys.executable, "-c", BEGINNING + program]
    process = subprocess.run(arguments, capture_output=True, text=True)
    expected = f"lbkeras.errors.UserError: keras: expected a version with {name} ({SUPPORTED} "
    lines = process.stderr.splitlines()
    assert any(line.startswith(expected) for line in lines), process.stderr[-2000:]
    failed = [line for line in lines if line.startswith('  File "<string>"')]
    last_line = (BEGINNING + program).count("\n")
    assert f"line {last_line}, in <module>" in failed[-1], failed
