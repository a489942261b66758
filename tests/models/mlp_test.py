import pytest

from lbkeras.models import mlp


@pytest.mark.parametrize("sizes", [(), (512,), (20, 30)])
def test_parameters(sizes):
    widths = [784, *sizes, 10]
    expected = sum((a + 1) * b for a, b in zip(widths, widths[1:], strict=False))
    assert mlp((28, 28, 1), 10, sizes).count_params() == expected
