"""Norms and sums of whole tensors, in the shape that XLA compiles well."""

import math
import sys

import keras
from keras import ops

from lbkeras.optimizers.base import wide

_ROWS = 16
_COLUMNS = 32
_LARGE = 65_536
_LARGEST = 3.4028235e38
_PARTS = 256


def on_gpu() -> bool:
    """Whether XLA compiles the updates for a GPU: on Keras' JAX backend with a GPU as its default.

    Measured there and on CPU. TensorFlow was never measured on a GPU; it gets the form for CPU.
    """
    jax = _jax()
    return jax is not None and jax.default_backend() == "gpu"


def l2_norms(pairs) -> list:
    """The `l2_norm` of both tensors of each pair, which have the same shape.

    On a GPU all norms are computed together (`_norms_together`), elsewhere one after another.
    """
    if on_gpu():
        return _norms_together(pairs)
    return [(l2_norm(x), l2_norm(y)) for x, y in pairs]


def _norms_together(pairs) -> list:
    """In as few kernels as possible: one for each pair, and one for all of them at the end.

    The first sums the squares of 256 parts of both tensors. On one NVIDIA H200 an update of
    ResNet-50's 161 variables took LARS 1.21 times as long as SGD in this form, and LAMB 0.59 times
    as long as Keras' Lamb; with `sqrt(sum(square(x)))` of each tensor 1.72 and 0.72 times, in the
    form for CPU 2.27 and 1.17.
    """
    if not pairs:
        return []
    rows = [sums for x, y in pairs for sums in _sums_of_rows(_squares(x), _squares(y))]
    lengths = ops.sqrt(ops.sum(ops.stack(rows), axis=1))
    lengths = [ops.cast(lengths[i], row.dtype) for i, row in enumerate(rows)]
    return list(zip(lengths[0::2], lengths[1::2], strict=True))


def _squares(x):
    """The squares of all elements, filled up with zeros to a matrix of `_PARTS` rows."""
    x = ops.reshape(wide(x), (-1,))
    x = ops.pad(x, (0, -x.shape[0] % _PARTS))
    return ops.square(ops.reshape(x, (_PARTS, x.shape[0] // _PARTS)))


def _sums_of_rows(x, y):
    """The sums of the rows of two matrices, on JAX as one reduction, which XLA does not cut."""
    jax = _jax()
    if jax is None:
        return ops.sum(x, axis=1), ops.sum(y, axis=1)
    zeros = ops.zeros((), x.dtype), ops.zeros((), y.dtype)
    return jax.lax.reduce((x, y), zeros, lambda a, b: (a[0] + b[0], a[1] + b[1]), (1,))


def _jax():
    """JAX where it is Keras' backend, which has loaded it, else None."""
    return sys.modules["jax"] if keras.backend.backend() == "jax" else None


def l2_norm(x):
    """The L2 norm of all elements of `x`, a float32 scalar (of float64, a float64 one).

    A large tensor is reduced in three steps, as the norm of the norms of its columns:
    |x| = ||x[0]|, |x[1]|, ...|. That is the same number (better rounded, as each sum is shorter),
    and the shape that XLA turns into vectorised loops over all cores: on 2 CPU cores a quarter of
    the time of `sqrt(sum(square(x)))`, which it compiles into one long sequential sum. The square
    roots between the steps keep it from merging them again.

    Args:
        x: a tensor of any rank with a fully known shape; bfloat16 and float16 are summed as
            float32.
    """
    x = wide(x)
    size = math.prod(x.shape)
    if size >= _LARGE and size % (_ROWS * _COLUMNS) == 0:
        size //= _ROWS
        x = _column_norms(x, _ROWS, size)
    if size > _COLUMNS and size % _COLUMNS == 0:
        x = _column_norms(x, size // _COLUMNS, _COLUMNS)
    return ops.sqrt(ops.sum(ops.square(x)))


def _column_norms(x, rows, columns):
    return ops.sqrt(ops.sum(ops.square(ops.reshape(x, (rows, columns))), axis=0))


def column_sums(x):
    """The sums over the rows of a matrix `(rows, columns)`, float32, shape `(columns,)`.

    A large matrix is summed 16 blocks of rows at a time, then over the rest, for the reason that
    `l2_norm` gives. The bound on the sums in between, float32's largest number, changes nothing but
    an overflow and keeps XLA from merging both sums into one: half the time on 2 CPU cores.
    """
    rows, columns = x.shape
    if rows * columns >= _LARGE and rows % _ROWS == 0:
        rows //= _ROWS
        blocks = ops.sum(ops.reshape(x, (_ROWS, rows * columns)), axis=0)
        x = ops.reshape(ops.minimum(blocks, _LARGEST), (rows, columns))
    return ops.sum(x, axis=0)
