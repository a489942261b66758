"""Four examples, and what a Pipeline makes of a source."""

import numpy as np
import tensorflow as tf

from lbkeras.data import Pipeline

X = np.arange(12, dtype="float32").reshape(4, 3)
Y = np.arange(4, dtype="float32")[:, None]


def batches(source, size=2, **arguments):
    pipeline = Pipeline(source, size, **{"shuffle": False, **arguments})
    return list(pipeline.dataset().as_numpy_iterator())


def joined(parts):
    return tf.nest.map_structure(lambda *each: np.concatenate(each), *parts)


def rows(number=40):
    return tf.data.Dataset.range(number)
