import pytest

from lbkeras.models import small_cnn


@pytest.mark.parametrize("size, width", [(8, 16), (28, 16), (28, 8)])
def test_parameters(size, width):
    flat = (size // 4) ** 2 * 2 * width
    expected = (9 + 1) * width + (9 * width + 1) * 2 * width
    expected += (flat + 1) * 4 * width + (4 * width + 1) * 10
    assert small_cnn((size, size, 1), 10, width).count_params() == expected
    fixed = small_cnn((size, size, 1), 10, width, fixed_classifier="orthonormal")
    assert fixed.count_params() == expected - 4 * width * 10 + 1
