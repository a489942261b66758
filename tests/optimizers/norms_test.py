import numpy as np
import pytest
from keras import ops

from lbkeras.optimizers import norms
from lbkeras.optimizers.norms import column_sums, l2_norm, l2_norms


@pytest.mark.parametrize(
    "shape",
    [(1,), (7,), (3, 5), (64, 2), (3, 3, 16, 16), (3, 3, 128, 128), (256, 256), (257, 257)],
)
def test_the_norm_of_all_elements(shape):
    """Shapes on both sides of the limits at which the reduction uses more steps."""
    x = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    expected = np.linalg.norm(x.astype(np.float64))
    assert float(l2_norm(ops.convert_to_tensor(x))) == pytest.approx(expected, rel=3e-7)


def test_half_precision_is_summed_as_float32():
    """The sum of these squares, 9e5, would overflow in float16 and get stuck in bfloat16."""
    for dtype in ("float16", "bfloat16"):
        x = ops.full((100_000,), 3.0, dtype=dtype)
        norm = l2_norm(x)
        assert norm.dtype == "float32"
        assert float(norm) == pytest.approx(3 * np.sqrt(100_000), rel=1e-6)


def test_norms_of_pairs_as_on_a_gpu(monkeypatch):
    """One kernel for all; sizes below and above the number of parts, most not multiples of it."""
    monkeypatch.setattr(norms, "on_gpu", lambda: True)
    shapes = [(1,), (7,), (255,), (16, 16), (257,), (3, 1, 5), (7, 7, 3, 64), (1000, 301)]
    shapes += [(3, 3, 128, 128), (65_537,), (1731, 1733), (3_000_000,)]
    rng = np.random.default_rng(0)
    pairs = [
        [rng.standard_normal(s).astype(np.float32) * scale for scale in (1, 1e-6)] for s in shapes
    ]
    found = l2_norms([tuple(map(ops.convert_to_tensor, pair)) for pair in pairs])
    for pair, lengths in zip(pairs, found, strict=True):
        for x, length in zip(pair, lengths, strict=True):
            expected = np.linalg.norm(x.astype(np.float64))
            assert float(length) == pytest.approx(expected, rel=1e-6, abs=0)


def test_norms_of_pairs_of_other_types_as_on_a_gpu(monkeypatch):
    """float64 stays float64 next to other types; half precision is summed as float32."""
    monkeypatch.setattr(norms, "on_gpu", lambda: True)
    x = np.random.default_rng(0).standard_normal((40, 70))
    double = ops.convert_to_tensor(x)
    half = ops.full((100_000,), 3.0, dtype="bfloat16")
    (a, b), (c, d) = l2_norms([(double, 2 * double), (half, ops.zeros((100_000,), "bfloat16"))])
    assert (a.dtype, b.dtype, c.dtype, d.dtype) == ("float64", "float64", "float32", "float32")
    assert float(a) == pytest.approx(np.linalg.norm(x), rel=1e-14)
    assert float(b) == pytest.approx(2 * np.linalg.norm(x), rel=1e-14)
    assert float(c) == pytest.approx(3 * np.sqrt(100_000), rel=1e-6)
    assert float(d) == 0.0


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


def test_column_sums_keep_values_that_are_not_finite():
    for value in (np.nan, -np.inf):
        x = np.ones((4608, 16), np.float32)
        x[7, 3] = value
        sums = np.asarray(column_sums(ops.convert_to_tensor(x)))
        assert not np.isfinite(sums[3]) and np.isfinite(np.delete(sums, 3)).all()
