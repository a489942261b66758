"""Four examples, and helpers that read a source through a Pipeline."""

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


class Items:
    """A user's object: rows of arrays, or what a function returns for a place.

    Attributes:
        read: the places that were read, in order.
    """

    def __init__(self, *parts, length=None):
        self.make = parts[0] if callable(parts[0]) else None
        self.parts = parts
        self.length = length or (4 if self.make else len(parts[0]))
        self.read = []

    def __len__(self):
        return self.length

    def __getitem__(self, place):
        self.read.append(place)
        if self.make:
            return self.make(place)
        return tf.nest.map_structure(lambda part: part[place], self.parts)
