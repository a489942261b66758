"""AutoWU's rule as its authors published it, restated from the description in plain NumPy.

A Gaussian process with a constant mean and the kernel
outputscale · exp(−(x − x')² / (2 · 0.2²)) plus noise. It makes 100 Adam steps per epoch, with one
Adam for the whole run, on the raw values of outputscale (softplus), noise (1e-4 + softplus) and
the mean, which is reset to the losses' mean in each epoch.
"""

import collections
import math

import numpy as np
from scipy.linalg import solve_triangular
from scipy.special import expit, ndtr

GRID = np.linspace(0, 1, 500)


def kernel(a, b):
    return np.exp(-0.5 * ((a[:, None] - b[None, :]) / 0.2) ** 2)


def softplus(value):
    return np.logaddexp(0.0, value)


class Regressor:
    def __init__(self, generator):
        self.generator = generator
        self.losses = np.zeros(0)
        self.raw = np.array([0.0, math.log(math.expm1(1e-3 - 1e-4)), 0.0])
        self.first, self.second, self.step = np.zeros(3), np.zeros(3), 0

    def add(self, losses):
        self.losses = np.concatenate([self.losses, losses])
        self.raw[2] = self.losses[np.isfinite(self.losses)].mean()

    @property
    def scale_and_noise(self):
        return softplus(self.raw[0]), 1e-4 + softplus(self.raw[1])

    def subsample(self, most):
        valid = np.flatnonzero(np.isfinite(self.losses))
        if len(valid) > most:
            valid = np.sort(self.generator.choice(valid, most, replace=False))
        return valid / len(self.losses), self.losses[valid]

    def gradient(self, eigenvalues, y, ones):
        """Returns the gradient of −log marginal likelihood / n with respect to the raw values.

        Works in the basis of the correlation matrix's eigenvectors, where all matrices are
        diagonal.
        """
        scale, noise = self.scale_and_noise
        inverse = 1 / (scale * eigenvalues + noise)
        weights = inverse * (y - self.raw[2] * ones)
        by_scale = 0.5 * np.sum((inverse - weights**2) * eigenvalues)
        by_noise = 0.5 * np.sum(inverse - weights**2)
        by_mean = -ones @ weights
        derivatives = expit(self.raw[:2])
        return np.array([by_scale, by_noise, by_mean]) * [*derivatives, 1.0] / len(y)

    def fit(self):
        x, y = self.subsample(100)
        eigenvalues, vectors = np.linalg.eigh(kernel(x, x))
        y, ones = vectors.T @ y, vectors.sum(axis=0)
        for _ in range(100):
            gradient = self.gradient(eigenvalues, y, ones)
            self.step += 1
            self.first = 0.9 * self.first + 0.1 * gradient
            self.second = 0.999 * self.second + 0.001 * gradient**2
            mean = self.first / (1 - 0.9**self.step)
            root = np.sqrt(self.second / (1 - 0.999**self.step))
            self.raw = self.raw - 0.01 * mean / (root + 1e-8)

    def predict(self):
        """Returns mean and covariance of the noise-free posterior on the grid, from 500 points."""
        x, y = self.subsample(500)
        scale, noise = self.scale_and_noise
        factor = np.linalg.cholesky(scale * kernel(x, x) + noise * np.eye(len(x)))
        cross = solve_triangular(factor, scale * kernel(x, GRID), lower=True)
        mean = self.raw[2] + cross.T @ solve_triangular(factor, y - self.raw[2], lower=True)
        return mean, scale * kernel(GRID, GRID) - cross.T @ cross


def probability_that_the_minimum_is_behind(mean, covariance):
    difference = mean[:-1] - mean[-1]
    variance = np.diag(covariance)[:-1] + covariance[-1, -1] - 2 * covariance[:-1, -1]
    return ndtr(-difference / np.sqrt(variance + 1e-4)).max()


def decide(epochs, seed=0):
    """Applies the published rule to the losses of each epoch of a warm-up.

    Returns:
        `(epoch, place, votes)`: the number of epochs after which it switches, or None; the place of
        the minimum in [0, 1] at that moment (or at the end), as the mean over its five tests; the
        number of positive tests in each epoch.
    """
    regressor = Regressor(np.random.default_rng(seed))
    results, all_votes, place = collections.deque(maxlen=3), [], math.nan
    for number, losses in enumerate(epochs, 1):
        regressor.add(losses)
        regressor.fit()
        votes, places = 0, []
        for _ in range(5):
            mean, covariance = regressor.predict()
            votes += probability_that_the_minimum_is_behind(mean, covariance) > 0.95
            places.append(GRID[mean.argmin()])
        all_votes.append(int(votes))
        results.append(votes > 2.5)
        place = float(np.mean(places))
        if sum(results) >= 3:
            return number, place, all_votes
    return None, place, all_votes
