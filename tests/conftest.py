"""Shared fixtures: two logical CPUs, one MirroredStrategy, digits and small models."""

import atexit
import collections
import contextlib
import gc
import os
import signal
import sys

import numpy as np
import pytest

# Programs that tests start, and a module that only the forkserver may import.
collect_ignore_glob = ["*_script.py", "*forked_imports.py"]


# Docstring examples that build a large network, which a test builds as well.
_LONG_EXAMPLES = {
    "lbkeras.models.efficientnet_b0.efficientnet_b0",
    "lbkeras.models.inception_resnet_v2.inception_resnet_v2",
}


def pytest_configure(config):
    """Makes Ctrl-C work even in background processes, which ignore it by default."""
    if hasattr(config, "workerinput"):  # pytest-xdist's: its results have been sent by then
        atexit.register(os._exit, 0)  # Python would free thousands of graphs first: 10 s
    gc.disable()  # saves a quarter of the collection: no imported object is ever garbage
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(items):
    """Runs files with slow or many tests first: no core waits for a long file at the end."""
    for item in items:
        if item.name in _LONG_EXAMPLES:
            item.add_marker("release")
    long = {item.path for item in items if item.get_closest_marker("slow")}
    number = collections.Counter(item.path for item in items)
    items.sort(key=lambda item: (item.path not in long, -number[item.path]))


def pytest_collection_finish(session):
    """Makes two logical CPUs before TensorFlow starts; tests of pure modules do not load it."""
    gc.freeze()  # Keras' clear_session, with which our runs begin, collects everything else
    gc.set_threshold(20_000, 20, 20)  # saves 4% of the tests' time: tracing makes many live objects
    gc.enable()
    if "tensorflow" in sys.modules:
        from lbkeras.keras_internals.tf_data import switch_autotuner_off

        switch_autotuner_off()
        with contextlib.suppress(RuntimeError):  # tests that use `mirrored` get the error
            _two_logical_cpus()


def _two_logical_cpus():
    import tensorflow as tf

    cpu = tf.config.list_physical_devices("CPU")[0]
    if tf.config.get_logical_device_configuration(cpu):
        return
    try:
        devices = [tf.config.LogicalDeviceConfiguration()] * 2
        tf.config.set_logical_device_configuration(cpu, devices)
    except RuntimeError:
        raise RuntimeError(
            "TensorFlow had started before the tests did: create no tensor, model or optimizer "
            "when a test module is imported"
        ) from None


@pytest.fixture(scope="session")
def mirrored():
    """The only MirroredStrategy of the process: a second one on logical CPUs breaks."""
    import tensorflow as tf

    from lbkeras import distribution

    _two_logical_cpus()
    if tf.config.list_physical_devices("GPU"):
        return tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
    return distribution.strategy("mirrored")


@pytest.fixture(scope="session")
def digits():
    """`(images, labels)` of the 1,437 training digits: uint8 (8, 8, 1), int64."""
    from lbkeras.data.digits import load_digits

    return load_digits("train")


@pytest.fixture(scope="session")
def recording_model():
    """Returns a function that makes a digits model whose `sizes()` are the real batch sizes."""
    import keras
    import tensorflow as tf

    class RecordingModel(keras.Model):
        """Records the size of the tensor in each train step, indexed by update."""

        def train_step(self, data):
            size = tf.shape(data[0])[0]
            place = tf.one_hot(self.optimizer.iterations, 128, dtype=tf.int32)
            self.recorded.assign_add(place * size)
            return super().train_step(data)

        def sizes(self):
            recorded = self.recorded.numpy()
            return recorded[: np.max(np.nonzero(recorded), initial=-1) + 1].tolist()

    def make(hidden=None, dropout=0.0, dtype=None):
        inputs = keras.Input((8, 8, 1), dtype="uint8")
        x = keras.layers.Rescaling(1 / 16, dtype=dtype)(inputs)
        x = keras.layers.Flatten(dtype=dtype)(x)
        if hidden:
            x = keras.layers.Dense(hidden, activation="relu", dtype=dtype)(x)
            x = keras.layers.BatchNormalization(dtype=dtype)(x)
        if dropout:
            x = keras.layers.Dropout(dropout, dtype=dtype)(x)
        model = RecordingModel(inputs, keras.layers.Dense(10, dtype=dtype)(x))
        model.recorded = tf.Variable(
            tf.zeros(128, tf.int32),
            trainable=False,
            synchronization=tf.VariableSynchronization.ON_READ,
            aggregation=tf.VariableAggregation.SUM,
        )
        return model

    return make


@pytest.fixture(scope="session")
def compiled(recording_model):
    """Returns a function that makes this model, compiled for classification, from a seed."""
    import keras

    def make(optimizer=None, *, seed=0, hidden=None, dropout=0.0, dtype=None, **compile_arguments):
        keras.utils.set_random_seed(seed)
        model = recording_model(hidden, dropout, dtype)
        model.compile(
            optimizer=optimizer or keras.optimizers.SGD(0.1, momentum=0.9),
            loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
            metrics=["accuracy"],
            **compile_arguments,
        )
        return model

    return make
