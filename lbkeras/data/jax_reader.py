"""Reads a Pipeline's source on Keras' JAX backend, without TensorFlow."""

import functools
import importlib.util

import jax
import keras
import numpy as np

from lbkeras.data.arrays import is_in_batches, is_items
from lbkeras.data.frozen_draws import refuse_frozen_draws
from lbkeras.data.jax_passes import JaxPasses
from lbkeras.data.jax_source import Arrays, Items
from lbkeras.data.labels import range_of_labels
from lbkeras.data.order import SHARDS
from lbkeras.errors import UserError, one_line


def reads(source) -> bool:
    """Whether a source is read without TensorFlow: arrays and objects read in any order are.

    Raises:
        UserError: another kind of source, and TensorFlow is not installed.
    """
    module = type(source).__module__
    streams = is_in_batches(source) or _is_random_access(source)
    streams = streams or module.startswith("tensorflow.") and not hasattr(source, "__array__")
    if streams and importlib.util.find_spec("tensorflow") is None:
        raise UserError(
            "source: expected arrays, or an object with len(source) and source[i] (tf.data reads "
            "a generator or a PyDataset: `pip install tensorflow`), received a "
            f"{type(source).__name__}"
        )
    return not streams


def _is_random_access(source) -> bool:
    """Whether this is one of lbkeras' own sources that use TensorFlow."""
    return any(each.__module__ == "lbkeras.data.random_access" for each in type(source).__mro__)


class JaxReader:
    """Reads a Pipeline's source, without changing it, on Keras' JAX backend.

    Args:
        source, decode, num_examples, shuffle_bytes: as for a Pipeline; `decode` gets NumPy arrays.
        by_shards: refused, as there are no files.

    Attributes:
        num_rows: examples in the source.
        in_memory: whether the source is arrays.
        is_stream: never.
        can_be_read_in_any_order: whether the source is an object that is read item by item.
        shards, buffer: 0.
        label_range: the lowest and the highest integer label, or None.
    """

    is_stream = False
    shards = buffer = 0

    def __init__(self, source, decode, num_examples, by_shards: bool, shuffle_bytes: int):
        if by_shards:
            raise UserError(
                f"shuffle: expected True or False on Keras' JAX backend, received {SHARDS!r}"
            )
        if isinstance(source, Arrays):
            self.data: Arrays | Items = source
        elif is_items(source):
            self.data = Items(source, decode)
        else:
            self.data = Arrays(source)
        self.num_rows = self.data.num_rows
        self.in_memory = self.data.in_memory
        self.can_be_read_in_any_order = not self.in_memory
        if num_examples is not None and num_examples != self.num_rows:
            raise UserError(
                f"num_examples: expected {self.num_rows} (the source's), received {num_examples}"
            )
        self.label_range = range_of_labels(self.data.parts)

    def try_first(self, shuffle: bool, augment, batch_size: int) -> None:
        """Refuses an `augment` that fails or returns a different number of rows."""
        if augment is None:
            return
        x = keras.tree.map_structure(
            lambda part: jax.ShapeDtypeStruct((batch_size, *part.shape[1:]), part.dtype),
            self.data.parts[0],
        )
        try:
            with keras.StatelessScope() as scope, refuse_frozen_draws():
                made = jax.eval_shape(augment, x, jax.ShapeDtypeStruct((2,), np.int32))
        except UserError:
            raise
        except Exception as error:
            raise UserError(
                "augment: expected a function of (x, seed) that returns x, written with JAX on "
                f"Keras' JAX backend, received one that fails: {one_line(str(error))[:300]}"
            ) from error
        if scope.state_mapping:
            raise UserError(
                "augment: expected a pure function of (x, seed) on Keras' JAX backend, received "
                "one that changes a variable, as Keras' random layers do; draw from seed instead"
            )
        for part in keras.tree.flatten(made):
            if not part.shape or part.shape[0] != batch_size:
                raise UserError(
                    f"augment: expected {batch_size} rows, as in its input, received shape "
                    f"{part.shape}"
                )

    def passes(self, pipeline) -> JaxPasses:
        """Returns the passes over a Pipeline that uses this reader."""
        return JaxPasses(pipeline, self.data)

    def first_rows(self, examples: int):
        """Returns a source of the first `examples` examples."""
        return self.data.first(examples)

    def labels(self):
        """Returns the targets of data in memory as NumPy arrays, or None without targets."""
        return self.data.parts[1] if len(self.data.parts) > 1 else None

    @functools.cached_property
    def hash(self) -> str:
        """Hash of all bytes in memory, otherwise of the first examples; "" if these vary."""
        return self.data.hash()
