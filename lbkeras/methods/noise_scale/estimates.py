"""Estimates of the gradient noise scale, and rules for batch sizes that use them.

The gradient of a batch of B examples is the gradient G of the loss plus noise of variance
tr(Σ) / B, with Σ the covariance of the examples' gradients. `variance` is tr(Σ), `squared_norm` is
|G|².

Reference: McCandlish et al., arXiv:1812.06162, section 2.2 and appendix A.1.
"""

import math
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from lbkeras import checks
from lbkeras.errors import UserError

_LEAST_VARIANCE = 1e-6


def gradient_noise_scale(variance: float, squared_norm: float) -> float:
    """Returns McCandlish's simple noise scale, tr(Σ) / |G|², in examples.

    It is about the critical batch size: below it, doubling the batch size nearly halves the number
    of updates; above it, doubling saves hardly any updates.

    >>> gradient_noise_scale(variance=8.0, squared_norm=0.5)
    16.0

    Args:
        variance: tr(Σ), the variance of an example's gradient, summed over the weights. Estimates
            below 0 are taken as 0.
        squared_norm: |G|². At 0 or below, as estimates can be, the noise scale is infinite.

    Reference: arXiv:1812.06162, section 2.2 (B_simple) and equation 2.11 (B_crit).
    """
    if squared_norm <= 0:
        return math.inf
    return max(variance, 0.0) / squared_norm


def piece_estimates(
    sizes: ArrayLike, squared_norms: ArrayLike, squared_norm_of_mean: float | np.ndarray
) -> tuple[Any, Any]:
    """Estimates tr(Σ) and |G|² from the gradients of all k pieces of a batch, without bias.

    With n_i examples in piece i, g_i its mean gradient, B = sum n_i and G_B = sum n_i/B · g_i,

        tr(Σ) = (sum n_i |g_i|² − B |G_B|²) / (k − 1),    |G|² = |G_B|² − tr(Σ) / B

    For pieces of equal size this is the paper's estimate from a small and a big batch, with the
    mean of |g_i|² over all pieces for the small batch. With one piece in place of that mean the
    estimate is far noisier: 24 % instead of 4 % for tr(Σ) and 8 pieces.

    >>> piece_estimates([1, 1], [5.0, 5.0], 3.0)
    (4.0, 1.0)

    Args:
        sizes: examples in each piece, shape (..., k) with k at least 2. Sizes may differ.
        squared_norms: |g_i|², shape (..., k).
        squared_norm_of_mean: |G_B|², shape (...).

    Returns:
        `(variance, squared_norm)`, each of shape (...).

    Raises:
        UserError: there are fewer than two pieces.

    Reference: arXiv:1812.06162, appendix A.1, for two batches; the variance of weighted means.
    """
    sizes, squared_norms = np.asarray(sizes, float), np.asarray(squared_norms, float)
    pieces = sizes.shape[-1] if sizes.ndim else 1
    if pieces < 2:
        raise UserError(f"sizes: expected at least 2 pieces, received {pieces}")
    batch_size = sizes.sum(-1)
    scatter = (sizes * squared_norms).sum(-1) - batch_size * squared_norm_of_mean
    variance = scatter / (pieces - 1)
    squared_norm = squared_norm_of_mean - variance / batch_size
    if not variance.shape:
        return float(variance), float(squared_norm)
    return variance, squared_norm


def adascale_gain(variance: ArrayLike, squared_norm: ArrayLike, scale: float | np.ndarray) -> Any:
    """Returns AdaScale's gain: how many small-batch updates one large-batch update is worth.

        gain = (variance + squared_norm) / (variance / scale + squared_norm)

    The gain is 1 for gradients without noise, and `scale` for gradients that are only noise.

    >>> adascale_gain(variance=2.0, squared_norm=1.0, scale=4)
    2.0

    Args:
        variance: variance of the small batch's mean gradient, tr(Σ) / base batch size. Values
            below 1e-6 are taken as 1e-6.
        squared_norm: |G|². Estimates below 0 are taken as 0.
        scale: batch size / base batch size, above 0.

    Returns:
        The gain, between 1 and `scale`: a float, or an array of the arguments' shape.

    Reference: Johnson et al., arXiv:2007.05105, section 3.
    """
    variance = np.maximum(np.asarray(variance, float), _LEAST_VARIANCE)
    squared_norm = np.maximum(np.asarray(squared_norm, float), 0)
    gain = (variance + squared_norm) / (variance / scale + squared_norm)
    return float(gain) if not gain.shape else gain


def cabs_batch_size(learning_rate: float, variance: float, loss: float) -> float:
    """Returns the batch size by the CABS rule: learning_rate · tr(Σ) / loss, in examples.

    >>> cabs_batch_size(0.1, variance=800.0, loss=0.5)
    160.0

    Args:
        learning_rate: learning rate of SGD, at least 0.
        variance: tr(Σ), at least 0.
        loss: training loss, above 0; its minimum is assumed to be 0.

    Raises:
        UserError: an argument is out of range.

    Reference: Balles, Romero, Hennig, arXiv:1612.05086, section 3.
    """
    variance = checks.not_negative("variance", variance)
    loss = checks.positive("loss", loss)
    return checks.not_negative("learning_rate", learning_rate) * variance / loss
