"""What a run shows: gradient noise scale, sharpness, AutoWU's test. No TensorFlow, no Keras.

Before training there is `lbkeras.planning`, which needs no NumPy either.
"""

from lbkeras.analysis.gradient_noise_scale import (
    GradientNoiseAverages,
    adascale_gain,
    best_learning_rate,
    cabs_batch_size,
    examples_relative_to_minimum,
    gradient_noise_scale,
    piece_estimates,
    two_batch_estimates,
    updates_relative_to_minimum,
)
from lbkeras.analysis.random_subspace import RandomSubspace
from lbkeras.analysis.sharpness import sharpness

__all__ = [
    "GradientNoiseAverages",
    "RandomSubspace",
    "adascale_gain",
    "best_learning_rate",
    "cabs_batch_size",
    "examples_relative_to_minimum",
    "gradient_noise_scale",
    "piece_estimates",
    "sharpness",
    "two_batch_estimates",
    "updates_relative_to_minimum",
]
