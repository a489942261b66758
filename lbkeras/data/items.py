"""Random access to a user's object that has a length and returns examples by their numbers."""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from lbkeras.data.arrays import arrays
from lbkeras.data.first_examples import MOST_FIRST, bytes_of
from lbkeras.data.given_items import GivenItems, said
from lbkeras.data.random_access import RandomAccess
from lbkeras.errors import UserError


class Items(RandomAccess):
    """The examples of a user's object; `source.__getitems__`, if any, gets several places at once.

    Sides that differ among the first examples have an open length: such parts of a row are padded
    with zeros and cut again in the graph. One thread at a time reads the object, since it may keep
    a file open.

    Args:
        source: `len(source)`, and `source[i]` an example: `(x, y)`, `(x, y, sample_weight)` or x.

    Raises:
        UserError: a length below 1, or first examples that are invalid or of several forms.
    """

    def __init__(self, source: Any):
        self._items = GivenItems(source)
        number = self.num_examples = self._items.num_examples
        first = range(min(number, MOST_FIRST))
        examples = [self._example(place, item) for place, item in self._items.read(first)]
        self.element_spec = tf.nest.map_structure(
            lambda part: tf.TensorSpec([None] * part.ndim, _dtype(part)), examples[0]
        )
        for place, example in enumerate(examples):
            self._check_form(place, example)
        self.element_spec = tf.nest.map_structure(_common_spec, *examples)
        self.shards = [number]
        sizes = [bytes_of(part) for each in examples for part in tf.nest.flatten(each)]
        self.bytes_each = sum(sizes) / len(examples)

    @property
    def row_spec(self) -> list[tf.TensorSpec]:
        """The parts of an element, followed by the shape of each padded part."""
        parts = tf.nest.flatten(self.element_spec)
        shapes = [tf.TensorSpec((spec.shape.rank,), tf.int64) for spec in parts if _is_open(spec)]
        return parts + shapes

    def read(self, places: np.ndarray) -> list[np.ndarray]:
        examples = []
        with self._items.one_thread:
            for place, item in self._items.read(places.tolist()):
                example = self._example(place, item)
                self._check_form(place, example)
                examples.append(tf.nest.flatten(example))
        columns, shapes = [], []
        for spec, column in zip(
            tf.nest.flatten(self.element_spec), zip(*examples, strict=True), strict=True
        ):
            if _is_open(spec):
                shapes.append(np.array([part.shape for part in column], np.int64))
                column = _padded(column, shapes[-1].max(axis=0))
            columns.append(np.stack(column))
        return columns + shapes

    @property
    def needs_parsing(self) -> bool:
        return any(map(_is_open, tf.nest.flatten(self.element_spec)))

    def parse(self, *row: tf.Tensor):
        parts = tf.nest.flatten(self.element_spec)
        shapes = iter(row[len(parts) :])

        def cut(part, spec):
            if not _is_open(spec):
                return part
            shape = next(shapes)
            return tf.ensure_shape(tf.slice(part, tf.zeros_like(shape), shape), spec.shape)

        cut_parts = [cut(part, spec) for part, spec in zip(row, parts, strict=False)]
        return tf.nest.pack_sequence_as(self.element_spec, cut_parts)

    def _example(self, place: int, item):
        """Returns an item as copied NumPy arrays; x alone is not a tuple."""
        try:
            parts = tf.nest.map_structure(_numpy, arrays(item))
        except UserError as error:
            raise UserError(f"{error} (example {place:,})") from None
        except Exception as error:
            raise UserError(
                f"source: expected arrays of numbers or strings, received {said(error)} "
                f"(example {place:,})"
            ) from error
        return parts if len(parts) > 1 else parts[0]

    def _check_form(self, place: int, example) -> None:
        try:
            tf.nest.assert_same_structure(example, self.element_spec)
            fits = all(
                _fits(part, spec)
                for part, spec in zip(
                    tf.nest.flatten(example), tf.nest.flatten(self.element_spec), strict=True
                )
            )
        except (TypeError, ValueError):
            fits = False
        if not fits:
            expected = tf.nest.map_structure(
                lambda spec: (spec.dtype.name, *spec.shape), self.element_spec
            )
            received = tf.nest.map_structure(lambda part: (_dtype(part).name, *part.shape), example)
            raise UserError(
                f"source: expected examples like the first ones, {expected}, received {received} "
                f"(example {place:,})"
            )


def _numpy(part) -> np.ndarray:
    part = np.asarray(part)
    is_float = _dtype(part).is_floating  # as Keras converts arrays
    return part.astype(keras.config.floatx() if is_float else part.dtype)  # a copy


def _dtype(part: np.ndarray) -> tf.DType:
    return tf.as_dtype(part.dtype)


def _fits(part: np.ndarray, spec: tf.TensorSpec) -> bool:
    return _dtype(part) == spec.dtype and spec.shape.is_compatible_with(part.shape)


def _common_spec(*parts: np.ndarray) -> tf.TensorSpec:
    """Returns the form of one part of several examples of one rank; sides that differ are open."""
    sides = [set(each) for each in zip(*(part.shape for part in parts), strict=True)]
    shape = [each.pop() if len(each) == 1 else None for each in sides]
    return tf.TensorSpec(shape, _dtype(parts[0]))


def _is_open(spec: tf.TensorSpec) -> bool:
    return not spec.shape.is_fully_defined()


def _padded(column: Sequence[np.ndarray], shape: np.ndarray) -> list[np.ndarray]:
    """Pads the parts to one shape with zeros or empty strings at the end of each side."""
    padded = []
    for part in column:
        whole = np.full(shape, b"" if part.dtype == object else 0, part.dtype)
        whole[tuple(map(slice, part.shape))] = part
        padded.append(whole)
    return padded
