"""Parts of tf.data for which TensorFlow has no public interface."""

import functools
import gc
import weakref

import tensorflow as tf
from tensorflow.python.data.ops import dataset_ops, iterator_ops, multi_device_iterator_ops

from lbkeras.keras_internals.names import private


def switch_autotuner_off() -> None:
    """Disables tf.data's autotuner in every data set created afterwards.

    When TensorFlow 2.21 releases an iterator of Keras' own data sets, it can wait forever for the
    autotuner's thread; this was seen in `keras.backend.clear_session`. An `lbkeras.data.Pipeline`
    never uses the autotuner; this is for programs that pass arrays to many `fit`s, such as our
    tests.
    """
    options = tf.data.Options()
    options.autotune.enabled = False
    dataset_ops.DatasetV2._apply_debug_options = lambda dataset: dataset.with_options(options)


def keep_data_until_iterators_end() -> None:
    """Fixes a crash of TensorFlow 2.21 when an iterator over several devices is dropped.

    This happens where Keras builds a model from a first batch, and where a `fit` under a
    MirroredStrategy stops inside an epoch. TensorFlow then destroys the data set while the
    iterator's thread still reads it, which is a segmentation fault if reading is slow. From now on
    a dropped iterator stays until the next one is made, or until the program ends, and only then
    ends (`_end`): it waits for threads that may run Python, so no thread of the garbage collector
    may do it.
    """
    iterators = multi_device_iterator_ops.OwnedMultiDeviceIterator
    create = iterators.__init__
    if hasattr(create, "__wrapped__"):
        return

    @functools.wraps(create)
    def create_after_the_dropped_ones_have_ended(self, dataset=None, *arguments, **others):
        if not tf.executing_eagerly():  # part of a graph
            create(self, dataset, *arguments, **others)
            return
        _end_dropped()
        create(self, dataset, *arguments, **others)
        if dataset is not None:
            resource = private(self, "_multi_device_iterator_resource")
            _RUNNING[id(self)] = dataset, resource
            weakref.finalize(self, _drop, id(self)).atexit = False

    iterators.__init__ = create_after_the_dropped_ones_have_ended


_RUNNING: dict[int, tuple] = {}  # iterators over several devices by `id`: data set and resource
_DROPPED: list[tuple] = []  # those of iterators that no longer exist


def _drop(key: int) -> None:
    _DROPPED.append(_RUNNING.pop(key))


def _end_dropped() -> None:
    while _DROPPED:
        _end(*_DROPPED.pop())


def _end(dataset: tf.data.Dataset, resource: tf.Tensor) -> None:
    """Ends an iteration over several devices: it gets an empty data set in place of its own."""
    tf.raw_ops.MultiDeviceIteratorInit(
        dataset=private(dataset.take(0), "_variant_tensor"),
        multi_device_iterator=resource,
        max_buffer_size=1,
    )


def end_all_iterations() -> None:
    """Ends all running iterations over data sets; none of them can continue.

    Call it when the program ends, while threads can still run Python. TensorFlow ends an iteration
    when its object is destroyed, and waits for the threads that prefetch. A Python function called
    there waits for the interpreter; if the interpreter has already shut down, the program hangs.
    """
    for each in gc.get_objects():
        if type(each) is iterator_ops.OwnedIterator:
            each._iterator_resource = None
    _end_dropped()
    for running in list(_RUNNING.values()):
        _end(*running)


def steps_of(dataset) -> list[str]:
    """Returns the steps of a `tf.data.Dataset`, the last one first: `["prefetch", "batch", ...]`.

    If it combines several data sets, the steps of all of them.
    """
    name = type(dataset).__name__.strip("_").removesuffix("V2").removesuffix("Dataset")
    steps = [name.lower()]
    for each in private(dataset, "_inputs")():
        steps += steps_of(each)
    return steps


def has_checked_cardinality(dataset) -> bool:
    """Whether the size of a `tf.data.Dataset` comes from `assert_cardinality` and may be wrong."""
    return any("assertcardinality" in step for step in steps_of(dataset))


# Operations that draw random numbers or keep state; the stateless ones have other names.
_DRAWS = (
    "Random", "TruncatedNormal", "ParameterizedTruncatedNormal", "Multinomial", "StatefulUniform",
    "StatefulStandardNormal", "StatefulTruncatedNormal", "RngReadAndSkip", "RngSkip",
    "SampleDistortedBoundingBox", "ShuffleDataset", "AssignVariableOp", "AssignAddVariableOp",
)  # fmt: skip


def varies(dataset) -> str | None:
    """Returns why passes over a `tf.data.Dataset` differ, as far as its steps show it.

    Returns:
        "shuffles itself", "is not deterministic" or "draws random numbers itself"; None: no reason
        found. A shuffle with a seed and `reshuffle_each_iteration=False` always has the same order.
    """
    name = type(dataset).__name__
    if "Shuffle" in name:
        again = private(dataset, "_reshuffle_each_iteration")
        if again is not False or private(dataset, "_seed2") is None:
            return "shuffles itself"
    if dataset.options().deterministic is False:
        return "is not deterministic"
    if getattr(dataset, "_deterministic", None) == "false":
        return "is not deterministic"
    operations = _operations(dataset)
    if any(each.startswith("ShuffleDataset") for each in operations):
        return "shuffles itself"
    if any(each.startswith(_DRAWS) for each in operations):
        return "draws random numbers itself"
    inner = (varies(each) for each in private(dataset, "_inputs")())
    return next((each for each in inner if each), None)


def _operations(dataset) -> set[str]:
    """Returns the operations in a data set's mapped function, including functions it calls."""
    mapped = getattr(dataset, "_map_func", None)
    if mapped is None:
        return set()
    graph = private(mapped, "function").graph.as_graph_def()
    inside = (node for function in graph.library.function for node in function.node_def)
    return {node.op for node in (*graph.node, *inside)}
