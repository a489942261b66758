import math

import numpy as np
import pytest

from lbkeras.methods.noise_scale.averages import GradientNoiseAverages
from lbkeras.methods.noise_scale.estimates import piece_estimates
from tests.methods.noise_scale.gaussian_gradients import SQUARED, TRACE, draws


def test_averages_equal_weighted_means():
    generator, decay = np.random.default_rng(3), 0.8
    rows = generator.normal([5, 2], [1, 0.3], (12, 2))
    averages = GradientNoiseAverages()
    for row in rows:
        averages.add(*row, decay)
        averages.add(math.nan, row[1], decay)  # this update is ignored
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
def test_the_error_equals_the_spread_of_repeated_runs():
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


def test_columns_are_averaged_separately():
    averages, second = GradientNoiseAverages(np.zeros((8, 2))), GradientNoiseAverages()
    for v, g in [((1, 5), (3, 2)), ((2, 6), (4, 3))]:
        averages.add(np.array(v), np.array(g), 0.9)
        second.add(v[1], g[1], 0.9)
    assert averages.noise_scale == second.noise_scale and averages.error == second.error
    assert averages.columns()["variance"][0] == pytest.approx((0.9 * 1 + 2) / 1.9)
    assert GradientNoiseAverages(averages.state).noise_scale == averages.noise_scale


def test_bounds_for_known_means_and_for_a_gradient_that_may_be_zero():
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
