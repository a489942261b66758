import numpy as np
import pytest
from keras import ops

from lbkeras.optimizers.norms import column_sums, l2_norm


@pytest.mark.parametrize(
    "shape",
    [(1,), (7,), (3, 5), (64, 2), (3, 3, 16, 16), (3, 3, 128, 128), (256, 256), (257, 257)],
)
def test_the_norm_of_all_elements(shape):
    """Shapes on each side of the limits at which the reduction takes more steps."""
    x = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    expected = np.linalg.norm(x.astype(np.float64))
    assert float(l2_norm(ops.convert_to_tensor(x))) == pytest.approx(expected, rel=3e-7)


def test_half_precision_is_summed_as_float32():
    """In float16 the sum of these squares, 9e6, would overflow, and in bfloat16 stop at 256."""
    for dtype in ("float16", "bfloat16"):
        x = ops.full((100_000,), 3.0, dtype=dtype)
        norm = l2_norm(x)
        assert norm.dtype == "float32"
        assert float(norm) == pytest.approx(3 * np.sqrt(100_000), rel=1e-6)


def test_zeros():
    assert float(l2_norm(ops.zeros((512, 512)))) == 0.0


@pytest.mark.parametrize(
    "shape", [(1, 1), (5, 3), (4608, 16), (1152, 128), (70_000, 1), (4097, 17)]
)
def test_column_sums(shape):
    x = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    sums = column_sums(ops.convert_to_tensor(x))
    assert sums.dtype == "float32"
    expected = x.astype(np.float64).sum(0)
    np.testing.assert_allclose(sums, expected, rtol=0, atol=2e-7 * np.abs(x).sum(0).max())


def test_column_sums_keep_what_is_not_finite():
    for value in (np.nan, -np.inf):
        x = np.ones((4608, 16), np.float32)
        x[7, 3] = value
        sums = np.asarray(column_sums(ops.convert_to_tensor(x)))
        assert not np.isfinite(sums[3]) and np.isfinite(np.delete(sums, 3)).all()
