import math

import numpy as np
import pytest

from lbkeras.errors import UserError
from lbkeras.methods.noise_scale.estimates import (
    adascale_gain,
    cabs_batch_size,
    gradient_noise_scale,
    piece_estimates,
)
from tests.methods.noise_scale.gaussian_gradients import SQUARED, TRACE, draws


def within_3_standard_errors(values, expected):
    error = values.std(ddof=1) / math.sqrt(len(values))
    assert abs(values.mean() - expected) < 3 * error
    assert error < 0.1 * expected  # otherwise the test has no power


@pytest.mark.parametrize("sizes", [(16,) * 8, (40, 30, 30, 28), (64, 64), (100, 20, 7, 1)])
def test_pieces_are_unbiased(sizes):
    examples = draws(1000, sum(sizes))
    ends = np.cumsum(sizes)
    parts = [examples[:, e - n : e].mean(1) for n, e in zip(sizes, ends, strict=True)]
    norms = np.stack([(part**2).sum(-1) for part in parts], -1)
    whole = (examples.mean(1) ** 2).sum(-1)
    variance, squared_norm = piece_estimates(np.broadcast_to(sizes, norms.shape), norms, whole)
    within_3_standard_errors(variance, TRACE)
    within_3_standard_errors(squared_norm, SQUARED)


def test_pieces_of_one_example_give_the_sample_variance():
    examples = draws(1, 50)[0]
    norms, whole = (examples**2).sum(-1), (examples.mean(0) ** 2).sum()
    variance, squared_norm = piece_estimates(np.ones(50), norms, whole)
    assert variance == pytest.approx(examples.var(0, ddof=1).sum(), rel=1e-12)
    assert squared_norm == pytest.approx(whole - variance / 50, rel=1e-12)


def test_equal_pieces_are_a_small_and_a_big_batch():
    norms, whole = np.array([3.0, 5.0, 4.0]), 2.0
    # The paper's estimates, appendix A.1, from batches of 7 and 21.
    variance = (norms.mean() - whole) / (1 / 7 - 1 / 21)
    squared_norm = (21 * whole - 7 * norms.mean()) / (21 - 7)
    expected = pytest.approx((variance, squared_norm), rel=1e-12)
    assert piece_estimates([7, 7, 7], norms, whole) == expected


@pytest.mark.parametrize(
    ("scale", "expected"),
    [(4, [4, 4, 4, 2]), (10, [10, 10, 10, 2.5]), (0.5, [0.5, 0.5, 0.5, 0.6])],
)
def test_gains_of_adaptdl(scale, expected):
    gains = adascale_gain([1, 0, 0, 2], [-1, 0, -1, 1], scale)
    np.testing.assert_allclose(gains, expected, rtol=1e-12)


@pytest.mark.parametrize(
    ("inputs", "gain"),
    [
        (([1, 0], [0, 1]), 4 / 3),
        (([1, 1], [1, 1]), 1.0000001249999846),
        (([-1, 1], [1, -1]), 2.0),
        (([1, 4], [5, 0.5]), 1.4688796680497926),
        (([-0.2, 3], [5, 0.5]), 1.8472893725750474),
    ],
)
def test_gains_of_fairscale(inputs, gain):
    """The sum of two outputs of a dense layer with bias, in micro-batches of one example."""
    gradients = np.array([[*x, *x, 1, 1] for x in inputs], float)
    whole = (gradients.mean(0) ** 2).sum()
    variance, squared_norm = piece_estimates([1, 1], (gradients**2).sum(-1), whole)
    # fairscale itself compares to 1e-5; it uses the least variance differently in the second case.
    assert adascale_gain(variance, squared_norm, 2) == pytest.approx(gain, rel=1e-7)


@pytest.mark.parametrize("scale", [4, 4 / 3, 2])
def test_the_gain_of_orthogonal_gradients_is_the_scale(scale):
    """fairscale: four one-hot examples; the base batch has 4 / scale of them."""
    variance, squared_norm = piece_estimates([1] * 4, [2.0] * 4, 2 / 4)
    assert adascale_gain(variance / (4 / scale), squared_norm, scale) == pytest.approx(scale)


def test_gains_of_fairscales_two_layers():
    first = np.array([[9, 12]]).T * np.array([[[1, 2, 1]], [[3, 4, 1]]])  # kernel and bias
    hidden = np.array([[5.1, 11.1], [11.1, 25.1]])
    second = np.array([[[*h, 1]] * 3 for h in hidden])
    parts = [first.reshape(2, -1), second.reshape(2, -1)]
    for gradients, gain in (
        (parts[0], 1.1428571428571428),
        (parts[1], 1.1471258476157762),
        (np.hstack(parts), 1.1440223454935758),
    ):
        whole = (gradients.mean(0) ** 2).sum()
        estimates = piece_estimates([1, 1], (gradients**2).sum(-1), whole)
        assert adascale_gain(*estimates, 2) == pytest.approx(gain, rel=1e-6)


def test_noise_scales_of_estimates_below_zero():
    assert gradient_noise_scale(-1.0, 1.0) == 0 and gradient_noise_scale(1.0, 0.0) == math.inf


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: piece_estimates([3], [1.0], 1.0), "sizes: expected at least 2 pieces, received 1"),
        (
            lambda: cabs_batch_size(0.1, 1.0, 0),
            "loss: expected a finite number above 0, received 0",
        ),
    ],
)
def test_messages(call, message):
    with pytest.raises(UserError) as error:
        call()
    assert str(error.value) == message
