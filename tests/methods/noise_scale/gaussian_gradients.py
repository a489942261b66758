"""Gradients of examples with known covariance."""

import numpy as np

# Gradients of examples are Gaussian with mean MEAN and covariance ROOT ROOTᵀ.
MEAN = np.array([0.5, -0.3, 0.4, 0.1])
ROOT = np.array([[2.0, 0, 0, 0], [0.5, 1.5, 0, 0], [0, -1.0, 0.5, 0], [0.3, 0, 0, 0.2]])
TRACE, SQUARED = float(np.sum(ROOT**2)), float(MEAN @ MEAN)


def draws(count, batch_size, seed=0):
    noise = np.random.default_rng(seed).normal(size=(count, batch_size, 4))
    return MEAN + noise @ ROOT.T
