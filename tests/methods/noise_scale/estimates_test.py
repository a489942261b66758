import math

import numpy as np
import pytest

from lbkeras.errors import UserError
from lbkeras.methods.noise_scale.estimates import (
    GradientNoiseAverages,
    adascale_gain,
    cabs_batch_size,
    gradient_noise_scale,
    piece_estimates,
)

# Gradients of examples: Gaussians of mean MEAN and covariance ROOT ROOTᵀ.
MEAN = np.array([0.5, -0.3, 0.4, 0.1])
ROOT = np.array([[2.0, 0, 0, 0], [0.5, 1.5, 0, 0], [0, -1.0, 0.5, 0], [0.3, 0, 0, 0.2]])
TRACE, SQUARED = float(np.sum(ROOT**2)), float(MEAN @ MEAN)


def draws(count, batch_size, seed=0):
    noise = np.random.default_rng(seed).normal(size=(count, batch_size, 4))
    return MEAN + noise @ ROOT.T


def within_3_standard_errors(values, expected):
    error = values.std(ddof=1) / math.sqrt(len(values))
    assert abs(values.mean() - expected) < 3 * error
    assert error < 0.1 * expected  # the test can tell


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
    # The paper's, appendix A.1, of batches of 7 and 21.
    variance = (norms.mean() - whole) / (1 / 7 - 1 / 21)
    squared_norm = (21 * whole - 7 * norms.mean()) / (21 - 7)
    expected = pytest.approx((variance, squared_norm), rel=1e-12)
    assert piece_estimates([7, 7, 7], norms, whole) == expected


def test_averages_equal_weighted_means():
    generator, decay = np.random.default_rng(3), 0.8
    rows = generator.normal([5, 2], [1, 0.3], (12, 2))
    averages = GradientNoiseAverages()
    for row in rows:
        averages.add(*row, decay)
        averages.add(math.nan, row[1], decay)  # such an update is not there
        averages.add(row[0], math.inf, decay)
    weights = decay ** np.arange(11, -1, -1)
    weights /= weights.sum()
    mean = weights @ rows
    covariance = (weights[:, None] * (rows - mean)).T @ (rows - mean)
    squares = (weights**2).sum()
    errors = covariance / (1 - squares) * squares
    gradient = np.array([1 / mean[1], -mean[0] / mean[1] ** 2])
    assert averages.updates == 12
    assert (averages.variance, averages.squared_norm) == pytest.approx(mean, rel=1e-12)
    assert averages.noise_scale == pytest.approx(mean[0] / mean[1], rel=1e-12)
    assert averages.error == pytest.approx(math.sqrt(gradient @ errors @ gradient), rel=1e-9)


@pytest.mark.slow
def test_the_error_is_that_of_repeated_runs():
    examples = draws(400 * 50, 256, seed=5).reshape(400, 50, 8, 32, 4)
    norms = (examples.mean(3) ** 2).sum(-1)
    whole = (examples.mean((2, 3)) ** 2).sum(-1)
    rows = piece_estimates(np.full(norms.shape, 32), norms, whole)
    ratios, errors = [], []
    for variances, squared_norms in zip(*rows, strict=True):
        averages = GradientNoiseAverages()
        for v, g in zip(variances, squared_norms, strict=True):
            averages.add(v, g, 0.95)
        ratios.append(averages.noise_scale)
        errors.append(averages.error)
    assert np.mean(ratios) == pytest.approx(TRACE / SQUARED, rel=0.02)
    assert np.mean(errors) == pytest.approx(np.std(ratios), rel=0.1)


def test_a_gradient_lost_in_noise_gives_a_lower_bound():
    averages = GradientNoiseAverages()
    assert math.isnan(averages.noise_scale) and averages.updates == 0
    averages.add(10.0, 1.0, 0.5)
    assert averages.variance == 10 and math.isnan(averages.noise_scale)
    for squared_norm in (-2.0, 2.0, -1.0):
        averages.add(10.0, squared_norm, 0.9)
    assert averages.noise_scale == averages.error
    weights = np.array([0.5 * 0.9**3, 0.1 * 0.81, 0.1 * 0.9, 0.1])
    weights /= weights.sum()
    values = np.array([1, -2, 2, -1])
    spread = weights @ (values - weights @ values) ** 2
    squares = (weights**2).sum()
    error = math.sqrt(spread * squares / (1 - squares))
    assert averages.noise_scale == pytest.approx(10 / error, rel=1e-12)


def test_columns_are_averaged_each_for_itself():
    averages, second = GradientNoiseAverages(np.zeros((8, 2))), GradientNoiseAverages()
    for v, g in [((1, 5), (3, 2)), ((2, 6), (4, 3))]:
        averages.add(np.array(v), np.array(g), 0.9)
        second.add(v[1], g[1], 0.9)
    assert averages.noise_scale == second.noise_scale and averages.error == second.error
    assert averages.columns()["variance"][0] == pytest.approx((0.9 * 1 + 2) / 1.9)
    assert GradientNoiseAverages(averages.state).noise_scale == averages.noise_scale


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
    """The sum of two outputs of a dense layer with bias, a micro-batch of one example each."""
    gradients = np.array([[*x, *x, 1, 1] for x in inputs], float)
    whole = (gradients.mean(0) ** 2).sum()
    variance, squared_norm = piece_estimates([1, 1], (gradients**2).sum(-1), whole)
    # Its own comparison allows 1e-5: in the second case the least variance counts otherwise.
    assert adascale_gain(variance, squared_norm, 2) == pytest.approx(gain, rel=1e-7)


@pytest.mark.parametrize("scale", [4, 4 / 3, 2])
def test_orthogonal_gradients_gain_the_whole_scale(scale):
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


def test_bounds_hold_for_means_that_are_known_and_for_a_gradient_that_may_be_zero():
    generator = np.random.default_rng(0)
    for mean_squared_norm, unknown in ((0.5, False), (0.0, True)):
        averages, v, g = GradientNoiseAverages(), [], []
        for _ in range(50):
            v.append(generator.normal(8.0, 2.0))
            g.append(generator.normal(mean_squared_norm, 1.0))
            averages.add(v[-1], g[-1], decay=0.999999999)  # equal weights
        e_v, e_g = (np.std(x, ddof=1) / 50**0.5 for x in (v, g))
        lower, upper = averages.bounds()
        low_g, high_g = np.mean(g) - e_g, max(np.mean(g), 0) + e_g
        assert lower == pytest.approx((np.mean(v) - e_v) / high_g, rel=1e-3)
        if unknown and low_g <= 0:
            assert upper == math.inf
        else:
            assert upper == pytest.approx((np.mean(v) + e_v) / low_g, rel=1e-3)
            assert lower < averages.noise_scale < upper


def test_no_bounds_before_the_second_update_and_without_a_gradient():
    averages = GradientNoiseAverages()
    averages.add(1.0, 1.0, decay=0.9)
    assert np.isnan(averages.bounds()).all()
    averages = GradientNoiseAverages()
    for _ in range(3):
        averages.add(0.0, 0.0, decay=0.9)
    assert np.isnan(averages.bounds()).all()
