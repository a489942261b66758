import pytest

from lbkeras.models import mlp


@pytest.mark.parametrize("sizes", [(), (512,), (20, 30)])
def test_parameters(sizes):
    widths = [784, *sizes, 10]
    expected = sum((a + 1) * b for a, b in zip(widths, widths[1:], strict=False))
    assert mlp((28, 28, 1), 10, sizes).count_params() == expected


def test_batch_normalization_is_between_dense_and_relu():
    model = mlp((28, 28, 1), 10, (20, 30), batch_normalization=True)
    kinds = [type(layer).__name__ for layer in model.layers]
    hidden = ["Dense", "BatchNormalization", "ReLU"]
    assert kinds[-7:] == [*hidden, *hidden, "Dense"]
    # No bias in front of it; gamma, beta, moving mean and variance.
    assert model.count_params() == 784 * 20 + 20 * 30 + 30 * 10 + 10 + 4 * (20 + 30)
