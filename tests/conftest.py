"""What tests share: two logical CPUs, one MirroredStrategy, digits and small models."""

import contextlib
import gc
import signal
import sys

import numpy as np
import pytest

# Programs that tests start, and what only the process that they fork from may import.
collect_ignore_glob = ["*_script.py", "*forked_imports.py"]


# Examples in docstrings that build a large network, as a test of it does too.
_LONG_EXAMPLES = {
    "lbkeras.models.efficientnet_b0.efficientnet_b0",
    "lbkeras.models.inception_resnet_v2.inception_resnet_v2",
}


def pytest_configure(config):
    """Ctrl-C acts, also where the tests run in the background, which makes processes ignore it."""
    gc.disable()  # a quarter of the collection: nothing that is imported is ever garbage
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(items):
    """The files with slow tests come first: at the end no core waits for a long one."""
    for item in items:
        if item.name in _LONG_EXAMPLES:
            item.add_marker("release")
    long = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in long)


def pytest_collection_finish(session):
    """Two logical CPUs, before TensorFlow starts; tests of pure modules do not load it."""
    gc.freeze()  # Keras' clear_session, which our runs begin with, collects all the rest
    gc.set_threshold(20_000, 20, 20)  # tracing makes many objects that live: 4% of the tests' time
    gc.enable()
    if "tensorflow" in sys.modules:
        from lbkeras.keras_internals.tf_data import switch_autotuner_off

        switch_autotuner_off()
        with contextlib.suppress(RuntimeError):  # `mirrored` says it to those whom it concerns
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
            "TensorFlow had started before the tests did: make no tensor, model or optimizer when "
            "a test module is imported"
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
    """A function: a softmax regression on digits whose `sizes()` are the real batch sizes."""
    import keras
    import tensorflow as tf

    class RecordingModel(keras.Model):
        """Writes the size of the tensor in each train step at the number of the update."""

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
    """A function: such a model compiled for classification; a seed gives its weights."""
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
