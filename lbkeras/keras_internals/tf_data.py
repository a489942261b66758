"""tf.data, as far as TensorFlow has no public switch."""

import tensorflow as tf
from tensorflow.python.data.ops import dataset_ops

from lbkeras.keras_internals.names import private


def switch_autotuner_off() -> None:
    """Makes every data set that is made afterwards run without tf.data's autotuner.

    TensorFlow 2.21 can wait for ever for the autotuner's thread when it releases an iterator of
    Keras' own data sets: seen in `keras.backend.clear_session`. An `lbkeras.data.Pipeline` is
    without it anyway; this is for programs that hand arrays to many `fit`s, such as our tests.
    """
    options = tf.data.Options()
    options.autotune.enabled = False
    dataset_ops.DatasetV2._apply_debug_options = lambda dataset: dataset.with_options(options)


def steps_of(dataset) -> list[str]:
    """The steps that make a `tf.data.Dataset`, the last one first: `["prefetch", "batch", ...]`.

    Of a data set that joins several, the steps of all.
    """
    name = type(dataset).__name__.strip("_").removesuffix("V2").removesuffix("Dataset")
    steps = [name.lower()]
    for each in private(dataset, "_inputs")():
        steps += steps_of(each)
    return steps
