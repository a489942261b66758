"""Sources on Keras' JAX backend: arrays, which are on the device if they fit, and items."""

import concurrent.futures
from collections.abc import Callable
from typing import Any

import jax
import keras
import numpy as np

from lbkeras.data.arrays import arrays, count_rows
from lbkeras.data.given_items import GivenItems, said
from lbkeras.data.jax_placement import Placement
from lbkeras.errors import UserError
from lbkeras.fingerprint import digest_of

_SHARE = 0.25  # largest share of a device's memory for data that stay there
_FIRST = 32  # examples of an object that are checked


class Arrays:
    """Arrays in memory, with one row per example.

    Args:
        source: `(x,)`, `(x, y)` or `(x, y, sample_weight)`, as for a Pipeline.

    Raises:
        UserError: `source` has another form, or holds anything but numbers that fit in 32 bits.
    """

    in_memory = True

    def __init__(self, source):
        self.parts = keras.tree.map_structure(_number, arrays(source))
        self.num_rows = count_rows(self.parts)
        self._whole = self
        self._on_device: dict = {}

    def first(self, examples: int) -> "Arrays":
        """Returns the first `examples` rows, which share the copy on the device."""
        made = object.__new__(Arrays)
        made.parts = keras.tree.map_structure(lambda part: part[:examples], self.parts)
        made.num_rows = examples
        made._whole = self._whole
        return made

    def on_device(self, placement: Placement):
        """Returns the parts on each device, copied there once, or None if they are too large.

        They may have more rows than `num_rows`.
        """
        whole = self._whole
        if placement not in whole._on_device:
            whole._on_device[placement] = placement.everywhere(whole.parts) if whole._fits() else ()
        return whole._on_device[placement] or None

    def _fits(self) -> bool:
        limits = [(each.memory_stats() or {}).get("bytes_limit") for each in jax.local_devices()]
        size = sum(part.nbytes for part in keras.tree.flatten(self.parts))
        return all(limit is None or size <= _SHARE * limit for limit in limits)

    def read(self, places: np.ndarray):
        """Returns the rows at `places`."""
        return keras.tree.map_structure(lambda part: part[places], self.parts)

    def hash(self) -> str:
        """Returns the hash of all bytes."""
        return digest_of(keras.tree.flatten(self.parts))


class Items:
    """An object with `len(source)` and `source[i]`, read row by row.

    Args:
        source: the object.
        decode: `(example, seed) -> example` of NumPy arrays, or None.

    Raises:
        UserError: the length is below 1, or the first examples are invalid or differ in
            shape or dtype.
    """

    in_memory = False

    def __init__(self, source: Any, decode: Callable | None):
        self._source, self._decode = source, decode
        self._items = GivenItems(source)
        self.num_rows = self._items.num_examples
        self._form = None
        self._first = self.read(np.arange(min(self.num_rows, _FIRST)), None)
        self.parts = self._first

    def first(self, examples: int) -> "_FirstItems":
        """Returns the first `examples` examples, as an object."""
        return _FirstItems(self._source, examples)

    def on_device(self, placement: Placement) -> None:
        """Returns None: the examples stay where they are."""

    def read(self, places: np.ndarray, seeds: np.ndarray | None = None):
        """Returns the examples at `places`, decoded, with each part stacked in one array.

        Args:
            places: integers.
            seeds: int32, `(len(places), 2)`, for `decode`; None: zeros.
        """
        seeds = np.zeros((len(places), 2), np.int32) if seeds is None else seeds
        with self._items.one_thread:  # the object may reuse its buffer for the next one
            items = [_copied(item) for _, item in self._items.read(places.tolist())]
        if self._decode is not None:
            triples = zip(items, seeds, places.tolist(), strict=True)
            items = [self._decoded(*each) for each in triples]
        examples = [self._example(*each) for each in zip(items, places.tolist(), strict=True)]
        return keras.tree.map_structure(lambda *parts: np.stack(parts), *examples)

    def _decoded(self, example, seed, place: int):
        try:
            return self._decode(example, seed)
        except UserError:
            raise
        except Exception as error:
            raise UserError(
                "decode: expected a function of (example, seed) that decodes NumPy arrays, "
                f"received one that fails: {said(error)} (example {place:,})"
            ) from error

    def _example(self, item, place: int) -> tuple:
        try:
            parts = keras.tree.map_structure(lambda part: _number(np.asarray(part)), arrays(item))
        except UserError as error:
            raise UserError(f"{error} (example {place:,})") from None
        form = [(str(part.dtype), part.shape) for part in keras.tree.flatten(parts)]
        self._form = self._form or form
        if form != self._form:
            raise UserError(
                f"source: expected examples like the first one, {self._form}, received {form} "
                f"(example {place:,}); pad them to one length"
            )
        return parts

    def hash(self) -> str:
        """Returns the hash of the first examples, or "" if they differ when read again."""
        again = self.read(np.arange(len(keras.tree.flatten(self._first)[0])), None)
        first, second = (digest_of(keras.tree.flatten(each)) for each in (self._first, again))
        return first if first == second else ""


class _FirstItems:
    """The first examples of an object."""

    def __init__(self, items, number: int):
        self._items, self._number = items, number
        several = getattr(items, "__getitems__", None)
        if several is not None:
            self.__getitems__ = several

    def __len__(self):
        return self._number

    def __getitem__(self, place):
        return self._items[place]


def _copied(item):
    """Returns an item with its arrays copied."""
    return keras.tree.map_structure(
        lambda part: np.array(part) if hasattr(part, "__array__") else part, item
    )


def _number(part):
    """Returns an array in JAX' types: floats as Keras' `floatx`, integers in at most 32 bits."""
    part = np.asarray(part)
    if part.dtype.kind not in "biuf" and part.dtype.name != "bfloat16":
        raise UserError(
            f"source: expected numbers on Keras' JAX backend, received {_kind_of(part)}"
        )
    if part.dtype.kind == "f":
        return part.astype(keras.config.floatx(), copy=False)
    if part.dtype.itemsize == 8 and part.size:
        narrow = np.dtype(np.int32 if part.dtype.kind == "i" else np.uint32)
        low, high, limits = part.min(), part.max(), np.iinfo(narrow)
        if low < limits.min or high > limits.max:
            raise UserError(
                f"source: expected integers from {limits.min} to {limits.max} on Keras' JAX "
                f"backend, which computes in 32 bits, received {low} to {high}"
            )
        return part.astype(narrow)
    return part


def _kind_of(part: np.ndarray) -> str:
    return "strings" if part.dtype == object else f"{part.dtype}"


def read_ahead(read: Callable, tasks, ahead: int = 3):
    """Yields `read(*task)` of each task in order; threads read the next `ahead` ones meanwhile."""
    waiting: list = []
    pool = concurrent.futures.ThreadPoolExecutor(ahead)
    try:
        for task in tasks:
            waiting.append(pool.submit(read, *task))
            if len(waiting) > ahead:
                yield waiting.pop(0).result()
        while waiting:
            yield waiting.pop(0).result()
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
