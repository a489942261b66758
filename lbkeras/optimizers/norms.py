"""Norms and sums of whole tensors, in the shape that XLA compiles well."""

import math

import keras
from keras import ops

_ROWS = 16
_COLUMNS = 32
_LARGE = 65_536
_LARGEST = 3.4028235e38


def together() -> bool:
    """Whether the norms of all variables are best computed together, not one after another."""
    return False


def l2_norms(tensors) -> list:
    """The `l2_norm` of each of the tensors."""
    return [l2_norm(x) for x in tensors]


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
    if keras.backend.standardize_dtype(x.dtype) != "float64":
        x = ops.cast(x, "float32")
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
