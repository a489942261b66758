"""Makes random data with the form and the number of examples of a set that is not available."""

import math

import numpy as np
import tensorflow as tf

from lbkeras.data.images import MAX_BYTES_IN_MEMORY, form_of_images
from lbkeras.data.random_access import RandomAccess
from lbkeras.data.text import is_text, window_of

_PHOTOGRAPHS = ((375, 500, 3), (500, 333, 3), (400, 400, 1), (213, 641, 3))  # height, width, colors


def made_data(name: str, num_examples: int, data_dir: str | None = None, vocabulary: int = 65):
    """Returns what `lbkeras.data.load` would read from a set, with random contents.

    Args:
        name: as for `load`, except "digits", which needs no files.
        num_examples: in the split.
        data_dir: folder of prepared sets, whose files give their form; TFDS' code gives the form of
            others.
        vocabulary: number of different tokens in a text.

    Returns:
        Arrays `(x, y)` of `num_examples` rows if the set would be in memory, else
        `MadePhotographs`.

    Raises:
        UserError: a set that is neither in the folder nor in TFDS.
    """
    random = np.random.default_rng(0)
    if is_text(name):
        tokens = random.integers(0, vocabulary, (2, num_examples, window_of(name)), np.int32)
        return tuple(tokens)
    shape, num_classes = form_of_images(name, data_dir)
    if None in shape or num_examples * math.prod(shape) > MAX_BYTES_IN_MEMORY:
        return MadePhotographs(num_examples, num_classes)
    images = random.integers(0, 256, (num_examples, *shape), np.uint8)
    return images, np.arange(num_examples) % num_classes


class MadePhotographs(RandomAccess):
    """A few JPEGs, repeated: in color and gray, portrait and landscape, one with odd sides.

    The label of example i is i modulo `num_classes`, so a batch shows which examples it has.

    Args:
        num_examples: how many examples.
        num_classes: number of different labels.
    """

    def __init__(self, num_examples: int, num_classes: int):
        random = np.random.default_rng(0)
        self.num_examples, self.num_classes = num_examples, num_classes
        self.element_spec = (tf.TensorSpec((), tf.string), tf.TensorSpec((), tf.int64))
        self.shards = [num_examples]
        self._encoded = np.array([_photograph(shape, random) for shape in _PHOTOGRAPHS], object)
        self.bytes_each = float(np.mean([len(each) for each in self._encoded]))

    def read(self, places):
        """Returns the rows at `places`: encoded images and labels."""
        places = np.asarray(places, np.int64)
        return [self._encoded[places % len(self._encoded)], places % self.num_classes]


def _photograph(shape, random) -> bytes:
    """Makes a JPEG of blurred noise, with about the file size of an ImageNet photograph."""
    height, width, colors = shape
    coarse = random.uniform(0, 255, (height // 8 + 1, width // 8 + 1, colors))
    image = tf.image.resize(coarse, (height, width), "bicubic")
    image += random.normal(0, 12, (height, width, colors))
    return tf.io.encode_jpeg(tf.saturate_cast(image, tf.uint8), quality=90).numpy()
