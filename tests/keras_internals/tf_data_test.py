"""The autotuner switch, in its own process as it is already set here; the end of a program."""

import subprocess
import sys

import pytest

from tests.forked import run_program

PROGRAM = """
import tensorflow as tf
from lbkeras.keras_internals.tf_data import switch_autotuner_off
assert tf.data.Dataset.range(2).options().autotune.enabled is not False
switch_autotuner_off()
data = tf.data.Dataset.range(2)
iterator = iter(data)
assert [int(x) for x in iterator] == [0, 1]
applied = []
with_options = tf.data.Dataset.with_options
tf.data.Dataset.with_options = lambda self, o: applied.append(o) or with_options(self, o)
list(tf.data.Dataset.range(2))
assert [options.autotune.enabled for options in applied] == [False], applied
"""


@pytest.mark.slow
def test_every_iterator_runs_without_the_autotuner():
    run_program(PROGRAM)


# Two logical CPUs, and data that are read slowly in Python.
SLOW = """
import gc, time
import keras, numpy as np, tensorflow as tf
from lbkeras.data import Pipeline
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)

class Slow:
    def __len__(self):
        return 100_000
    def __getitem__(self, place):
        time.sleep(0.001)
        return np.zeros(9, "float32"), 0.5

train = Pipeline(Slow(), 64)
"""

DROPPING = f"""{SLOW}
replicas = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
data = replicas.experimental_distribute_dataset(train.dataset())
for _ in range(5):
    iterator = iter(data)
    next(iterator)
    del iterator
    gc.collect()
"""


@pytest.mark.slow
def test_an_iterator_over_replicas_is_dropped_while_its_data_are_read():
    """Without `keep_data_until_iterators_end` nearly every time a segmentation fault."""
    run_program(DROPPING)


ENDING = (
    SLOW
    + """
class Stop(keras.callbacks.Callback):
    def on_train_batch_end(self, batch, logs=None):
        raise SystemExit(3)

one, devices = iter(train.dataset()), ["CPU:0", "CPU:1"]
next(one)
with tf.distribute.MirroredStrategy(devices[: {replicas}]).scope():
    model = keras.Sequential([keras.Input((9,)), keras.layers.Dense(1)])
    model.compile("sgd", "mse")
model.fit(train, callbacks=[Stop()], verbose=0)
"""
)


@pytest.mark.release
@pytest.mark.parametrize("replicas", [1, 2])
def test_a_program_that_stops_while_python_reads_examples_ends(replicas):
    """Without `end_all_iterations` it waits forever."""
    program = ENDING.replace("{replicas}", str(replicas))
    assert subprocess.run([sys.executable, "-c", program], timeout=120).returncode == 3
