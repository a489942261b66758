"""Makes the passes over a Pipeline on JAX: only row numbers and a seed go to the device.

Data that fit are kept on the device. Each step sends its row numbers and the seed of `augment`
there, and a jitted function gathers the rows and augments them. Larger data are read in threads.
"""

import functools
import itertools
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import jax
import keras
import numpy as np

from lbkeras.data.jax_placement import present_placement
from lbkeras.data.jax_source import Arrays, Items, read_ahead
from lbkeras.data.order import count_steps, epoch_order, order_of_parts, step_seeds
from lbkeras.keras_internals.data_adapter import super_batches

if TYPE_CHECKING:
    from lbkeras.data.pipeline import Pipeline


class JaxPasses:
    """Gives Keras the passes over a Pipeline on the JAX backend.

    Args:
        pipeline: knows which pass is running and how large its batches are.
        data: the data that the Pipeline reads.
    """

    places_its_batches = True

    def __init__(self, pipeline: "Pipeline", data: Arrays | Items):
        self._pipeline = pipeline
        self._data = data

    def arrays(self):
        """Returns the batches of the running pass as NumPy arrays."""
        return self._running().as_numpy_iterator()

    def for_jax(self, super_batch: int | None):
        """Returns the running pass's batches on the device, in stacks of `super_batch` if given."""
        batches = iter(self._running())
        return super_batches(batches, super_batch, jax.numpy.stack) if super_batch else batches

    def dataset(self, epoch: int, start_step: int) -> "JaxPass":
        """Returns the batches of one epoch from `start_step` on."""
        return JaxPass(self._pipeline, self._data, lambda: (epoch, start_step))

    def _running(self) -> "JaxPass":
        return JaxPass(self._pipeline, self._data, lambda: self._pipeline.position)

    @property
    def element_spec(self):
        """The shapes and dtypes of a batch: a structure of `jax.ShapeDtypeStruct`."""
        return self._running().element_spec


class JaxPass:
    """The batches of one epoch; can be iterated repeatedly.

    Args:
        pipeline: the Pipeline whose batches these are.
        data: the data that the Pipeline reads.
        position: returns the epoch and first step when an iteration starts.
    """

    def __init__(self, pipeline: "Pipeline", data, position: Callable[[], tuple[int, int]]):
        self._data, self._position = data, position
        self._num_examples, self._batch_size = pipeline.num_examples, pipeline.batch_size
        self._shuffle, self._seed = pipeline.shuffle, pipeline.seed
        self._parts = pipeline.node_parts
        self._augment = None if pipeline.augment is None else _ByIdentity(pipeline.augment)
        self._most: int | None = None

    def __len__(self):
        steps = count_steps(self._num_examples, self._batch_size, self._shuffle)
        left = steps - self._position()[1]
        return left if self._most is None else min(left, self._most)

    def __iter__(self) -> Iterator:
        epoch, start = self._position()
        size, steps = self._batch_size, start + len(self)
        order = self._order(epoch)
        seeds = step_seeds(self._seed, epoch if self._shuffle else 0, steps)
        placement = present_placement()
        if self._shuffle:
            placement.check(size)
        tasks = (
            (order[step * size : (step + 1) * size], step * size, seeds[step])
            for step in range(start, steps)
        )
        on_device = self._data.on_device(placement)
        if on_device is not None:
            for places, _, seed in tasks:
                sharding = placement.of_rows(len(places))
                yield self._form(_gathered(on_device, places, seed, self._augment, sharding))
            return
        for batch, seed in read_ahead(self._read, tasks):
            batch = jax.device_put(batch, placement.of_rows(len(keras.tree.flatten(batch)[0])))
            if self._augment is not None:
                batch = _augmented(batch, seed, self._augment)
            yield self._form(batch)

    def as_numpy_iterator(self) -> Iterator:
        """Returns the same batches as NumPy arrays."""
        return (keras.tree.map_structure(np.asarray, batch) for batch in self)

    def take(self, steps: int) -> "JaxPass":
        """Returns the first `steps` batches."""
        made = object.__new__(JaxPass)
        made.__dict__ = self.__dict__ | {"_most": steps}
        return made

    def repeat(self) -> Iterator:
        """Returns the batches, repeated without end."""
        return itertools.chain.from_iterable(itertools.repeat(self))

    @property
    def element_spec(self):
        rows = self._batch_size if self._shuffle else min(self._batch_size, self._num_examples)
        specs = keras.tree.map_structure(
            lambda part: jax.ShapeDtypeStruct(
                (rows, *part.shape[1:]), part.dtype, sharding=present_placement().of_rows(rows)
            ),
            self._data.parts,
        )
        if self._augment is not None:
            seed = jax.ShapeDtypeStruct((2,), np.int32)
            specs = (jax.eval_shape(self._augment, specs[0], seed), *specs[1:])
        return self._form(specs)

    def _form(self, batch: tuple):
        """Returns a batch as Keras expects it: x alone is not a tuple."""
        return batch if len(batch) > 1 else batch[0]

    def _order(self, epoch: int) -> np.ndarray:
        if not self._shuffle:
            return np.arange(self._num_examples, dtype=np.int32)
        if self._parts is not None:
            return order_of_parts(self._parts, self._batch_size, self._seed, epoch)
        return epoch_order(self._num_examples, self._seed, epoch)

    def _read(self, places, first: int, seed):
        """Returns rows on the host, and the seed of the step."""
        if isinstance(self._data, Arrays):
            return self._data.read(places), seed
        numbers = np.arange(first, first + len(places), dtype=np.int32)
        seeds = np.stack([np.full(len(places), seed[0], np.int32), numbers], axis=1)
        return self._data.read(places, seeds), seed


class _ByIdentity:
    """Makes a user's function a static argument of a jitted one, compared by identity.

    The function need not be hashable, and one that compares equal to another may differ from it.
    """

    def __init__(self, function: Callable):
        self._function = function

    def __call__(self, x, seed):
        return self._function(x, seed)

    def __hash__(self):
        return id(self._function)

    def __eq__(self, other):
        return isinstance(other, _ByIdentity) and self._function is other._function


@functools.partial(jax.jit, static_argnames=("augment", "sharding"))
def _gathered(data, places, seed, augment, sharding):
    batch = jax.tree.map(lambda part: part.at[places].get(mode="promise_in_bounds"), data)
    if sharding is not None:
        batch = jax.lax.with_sharding_constraint(batch, sharding)
    return batch if augment is None else (augment(batch[0], seed), *batch[1:])


@functools.partial(jax.jit, static_argnames="augment")
def _augmented(batch, seed, augment):
    return augment(batch[0], seed), *batch[1:]
