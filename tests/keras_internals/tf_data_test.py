"""The switch, in a process of its own: here it is already on."""

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
