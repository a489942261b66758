"""Recognizes the data that a Pipeline accepts, and makes NumPy arrays of data in memory."""

import numbers
import sys
from collections.abc import Iterator, Mapping

import keras
import numpy as np

from lbkeras.errors import UserError


def arrays(source) -> tuple:
    """Returns `(x,)`, `(x, y)` or `(x, y, sample_weight)` as NumPy arrays; tensors stay tensors.

    Lists of arrays become tuples, as in Keras; nested lists of numbers or strings become one array.
    """
    if not isinstance(source, tuple):
        if isinstance(source, list) and not is_one_array(source):
            raise UserError(
                "source: expected (x, y) or (x, y, sample_weight) as a tuple, received a list; "
                "give several inputs as a list inside the tuple: ([a, b], y)"
            )
        source = (source,)
    while len(source) > 1 and source[-1] is None:  # Keras' habit: (x, y, None)
        source = source[:-1]
    if not 1 <= len(source) <= 3:
        raise UserError(
            "source: expected (x, y) or (x, y, sample_weight) arrays or an unbatched "
            f"tf.data.Dataset, received a tuple of length {len(source)}"
        )
    return tuple(_as_arrays(part) for part in source)


def _as_arrays(part):
    if isinstance(part, dict):
        return {name: _as_arrays(value) for name, value in part.items()}
    if isinstance(part, list | tuple) and not is_one_array(part):
        return tuple(_as_arrays(each) for each in part)
    kind = type(part).__name__
    if kind in _NOT_DENSE_TENSORS:
        raise UserError(NOT_DENSE.format(_NOT_DENSE_TENSORS[kind]))
    if type(part).__module__.startswith("scipy.sparse"):
        raise UserError(NOT_DENSE.format(f"a {kind}; apply .toarray()"))
    if is_tensor(part):
        return part
    try:
        array = np.asarray(part)
    except ValueError:  # NumPy's message is long
        raise UserError(
            NOT_DENSE.format("rows of different lengths; pad them to one length")
        ) from None
    if array.dtype.kind in "SU":
        array = np.array(part, object)  # keeps zero bytes at the end of a string
    if array.dtype == object and not all(isinstance(each, str | bytes) for each in array.flat):
        raise UserError(NOT_DENSE.format("an array of Python objects"))
    return array


_NOT_DENSE_TENSORS = {
    "RaggedTensor": "a RaggedTensor; apply .to_tensor(), which pads it",
    "SparseTensor": "a SparseTensor; apply tf.sparse.to_dense",
}
NOT_DENSE = "source: expected dense arrays of numbers or strings, received {}"


def is_one_array(values: list | tuple) -> bool:
    """Whether these are nested lists of numbers or strings, as `np.array` takes them."""
    return all(
        is_one_array(each)
        if isinstance(each, list | tuple)
        else isinstance(each, numbers.Number | str | bytes)
        for each in values
    )


def is_tensor(part) -> bool:
    """Whether this is a TensorFlow tensor. TensorFlow need not be installed."""
    return any(
        each.__module__.startswith("tensorflow.") and each.__name__ in ("Tensor", "Variable")
        for each in type(part).__mro__
    )


def is_jax_array(part) -> bool:
    """Whether this is a JAX array or tracer."""
    jax = sys.modules.get("jax")
    return jax is not None and isinstance(part, jax.Array)


def count_rows(parts) -> int:
    """Returns the number of rows that all arrays or tensors share; refuses zero rows."""
    flat = keras.tree.flatten(parts)
    if any(len(part.shape) == 0 for part in flat):
        raise UserError("source: expected arrays with one row per example, received a scalar")
    counts = {len(part) for part in flat}
    if len(counts) > 1:
        raise UserError(
            "source: expected parts with the same number of examples, received "
            + " and ".join(str(each) for each in sorted(counts))
        )
    if counts == {0}:
        raise no_examples()
    return counts.pop()


def no_examples() -> UserError:
    """Returns the error for a source without examples."""
    return UserError("source: expected at least one example, received none (an empty split?)")


def is_items(source) -> bool:
    """Whether this has `len(source)` and `source[i]` but is no array, Python type or PyDataset."""
    kinds = list | tuple | range | str | bytes | bytearray | Mapping | keras.utils.PyDataset
    return (
        hasattr(type(source), "__len__")
        and hasattr(type(source), "__getitem__")
        and not isinstance(source, kinds)
        and not hasattr(source, "__array__")
        and not is_tensor(source)
        and not type(source).__module__.startswith(("scipy.sparse", "pandas"))
    )


def is_in_batches(source) -> bool:
    """Whether this is a PyDataset, a generator or a function that makes one."""
    kinds = keras.utils.PyDataset | Iterator
    return isinstance(source, kinds) or callable(source)
