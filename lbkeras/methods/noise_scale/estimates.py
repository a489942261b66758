"""The gradient noise scale: how noisy a gradient is, and how large a batch still pays.

The gradient of a batch of B examples is that of the loss, G, plus noise of variance tr(Σ) / B, Σ
being the covariance of the examples' gradients. `variance` is tr(Σ), `squared_norm` is |G|².

Reference: McCandlish, Kaplan, Amodei et al., arXiv 1812.06162.
"""

import math

import numpy as np

from lbkeras import checks
from lbkeras.errors import UserError

_LEAST_VARIANCE = 1e-6


def gradient_noise_scale(variance, squared_norm):
    """McCandlish's simple noise scale, tr(Σ) / |G|², in examples: about the critical batch size.

    Below it, twice the batch needs nearly half of the updates; above it, hardly fewer.

    >>> gradient_noise_scale(variance=8.0, squared_norm=0.5)
    16.0

    Args:
        variance: tr(Σ), the variance of one example's gradient summed over the weights; an estimate
            below 0 counts as 0.
        squared_norm: |G|²; infinite noise scale at 0 or, as estimates can be, below.

    Reference: arXiv 1812.06162, section 2.2 (B_simple) and equation 2.11 (B_crit).
    """
    if squared_norm <= 0:
        return math.inf
    return max(variance, 0.0) / squared_norm


def piece_estimates(sizes, squared_norms, squared_norm_of_mean):
    """tr(Σ) and |G|² from the gradients of all k pieces of a batch, without bias.

    With n_i examples in piece i, g_i its mean gradient, B = sum n_i and G_B = sum n_i/B · g_i,

        tr(Σ) = (sum n_i |g_i|² − B |G_B|²) / (k − 1),    |G|² = |G_B|² − tr(Σ) / B

    For equal pieces that is the paper's estimate from a small and a big batch, with the mean of
    |g_i|² and |G_B|²: of all pieces, which has far less noise than with one (24 % against 4 % for
    tr(Σ), 8 pieces).

    >>> piece_estimates([1, 1], [5.0, 5.0], 3.0)
    (4.0, 1.0)

    Args:
        sizes: examples of each piece, shape (..., k), k at least 2; they may differ.
        squared_norms: |g_i|², shape (..., k).
        squared_norm_of_mean: |G_B|², shape (...).

    Returns:
        `(variance, squared_norm)`, each of shape (...).

    Raises:
        UserError: fewer than two pieces.

    Reference: arXiv 1812.06162, appendix A.1, for two; the variance of weighted means.
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


class GradientNoiseAverages:
    """Running means of tr(Σ) and |G|² over updates, each for itself; their ratio comes last.

    With weights falling by `decay` an update, m <- decay · m + (1 − decay) · value, divided by the
    sum of weights (so that the start at 0 does not count). A mean of ratios would be biased, and
    clamping single estimates at 0 would be too: only the means are looked at.

    The standard error of a mean is s √(sum w_t²), s² the weighted variance of the updates' values
    (with the correction for few); that of the ratio follows by the delta method:

        error² = (e_v² − 2 r e_vg + r² e_g²) / |G|⁴,    r = tr(Σ) / |G|²

    It takes the updates' values as independent and of one distribution: it ignores that weights
    hardly move between updates (too small an error), the drift of both means within the window,
    which counts as noise (too large), and terms beyond the first order.

    >>> averages = GradientNoiseAverages()
    >>> for variance, squared_norm in [(7.0, 0.6), (9.0, 0.4), (8.0, 0.5)]:
    ...     averages.add(variance, squared_norm, decay=0.9)
    >>> round(averages.noise_scale, 1), round(averages.error, 1)
    (16.2, 3.0)

    Args:
        state: what the attribute was; None: no update yet.

    Attributes:
        state: float64, shape (8, columns) for estimates of that many groups of weights: the
            updates, sum of weights w_t, sum of w_t², and the running sums of v, g, v², v g, g².

    Reference: arXiv 1812.06162, appendix A.1; the delta method: any text on statistics.
    """

    def __init__(self, state=None):
        self.state = np.zeros((8, 1)) if state is None else np.array(state, np.float64)

    def add(self, variance, squared_norm, decay: float) -> None:
        """Adds an update's estimates, unless one of them is infinite or not a number.

        Args:
            variance, squared_norm: tr(Σ) and |G|², numbers or of shape (columns,).
            decay: what the weights of all updates before are multiplied by, in [0, 1).
        """
        v, g = np.broadcast_arrays(np.atleast_1d(variance), np.atleast_1d(squared_norm))
        v, g = v.astype(np.float64), g.astype(np.float64)
        if not (np.isfinite(v).all() and np.isfinite(g).all()):
            return
        one = np.ones_like(v)
        old, new = np.full(8, decay), np.full(8, 1 - decay)
        old[0], new[0] = 1, 1
        old[2], new[2] = decay**2, (1 - decay) ** 2
        values = np.stack([one, one, one, v, g, v * v, v * g, g * g])
        self.state = old[:, None] * self.state + new[:, None] * values

    @property
    def updates(self) -> int:
        """How many updates' estimates are in the means."""
        return int(self.state[0, 0])

    @property
    def variance(self) -> float:
        """The mean of tr(Σ), of the last column (that of all weights); nan without updates."""
        return float(self.columns()["variance"][-1])

    @property
    def squared_norm(self) -> float:
        """The mean of |G|², of the last column; nan without updates."""
        return float(self.columns()["squared_norm"][-1])

    @property
    def noise_scale(self) -> float:
        """tr(Σ) / |G|² in examples, of the last column, as `columns` describes."""
        return float(self.columns()["noise_scale"][-1])

    @property
    def error(self) -> float:
        """The noise scale's standard error, of the last column, as `columns` describes."""
        return float(self.columns()["error"][-1])

    def columns(self) -> dict[str, np.ndarray]:
        """`variance`, `squared_norm`, `noise_scale` and `error`, each of shape (columns,).

        Where the mean of |G|² is not above its own standard error, it may as well be 0 and the
        noise scale infinite: it is then the lower bound tr(Σ) / (error of |G|²), and its error is
        the same number. Both are nan before the second update.
        """
        v, g, e_vv, e_vg, e_gg = self._means()
        with np.errstate(divide="ignore", invalid="ignore"):
            positive = np.maximum(v, 0)
            known = g > np.sqrt(e_gg)
            ratio = positive / np.where(known, g, np.sqrt(e_gg))
            squared_error = (e_vv - 2 * ratio * e_vg + ratio**2 * e_gg) / g**2
            error = np.where(known, np.sqrt(np.maximum(squared_error, 0)), ratio)
        usable = np.isfinite(ratio) & np.isfinite(error)
        return {
            "variance": v,
            "squared_norm": g,
            "noise_scale": np.where(usable, ratio, np.nan),
            "error": np.where(usable, error, np.nan),
        }

    def bounds(self) -> tuple[float, float]:
        """What the noise scale is between, within the standard errors e of both means.

        (tr(Σ) − e_v) / (|G|² + e_g) and (tr(Σ) + e_v) / (|G|² − e_g), of the last column: defined
        also where |G|² may be 0 and the upper bound is infinite. Both nan before the second update,
        and where there is no gradient at all.
        """
        v, g, e_vv, _, e_gg = (float(each[-1]) for each in self._means())
        if not math.isfinite(e_vv) or max(v, g) <= 0:
            return math.nan, math.nan
        e_v, e_g = math.sqrt(e_vv), math.sqrt(e_gg)
        lower = gradient_noise_scale(v - e_v, max(g, 0.0) + e_g)
        return lower, gradient_noise_scale(v + e_v, g - e_g)

    def _means(self):
        """Means of v and g, and the variances and covariance of these means; (columns,) each."""
        with np.errstate(divide="ignore", invalid="ignore"):
            _, weight, squares, *sums = self.state
            v, g, vv, vg, gg = (each / weight for each in sums)
            squares = squares / weight**2  # of weights that add up to 1
            share = np.where(squares < 1, squares / (1 - squares), np.nan)
            e_vv = share * np.maximum(vv - v * v, 0)
            e_gg = share * np.maximum(gg - g * g, 0)
            return v, g, e_vv, share * (vg - v * g), e_gg


def adascale_gain(variance, squared_norm, scale):
    """AdaScale's gain: what an update of a `scale` times larger batch is worth, in small updates.

        gain = (variance + squared_norm) / (variance / scale + squared_norm)

    1 where there is no noise to average away, `scale` where there is nothing else.

    >>> adascale_gain(variance=2.0, squared_norm=1.0, scale=4)
    2.0

    Args:
        variance: of the small batch's mean gradient, tr(Σ) / base batch size; at least 1e-6, which
            estimates below count as.
        squared_norm: |G|²; estimates below 0 count as 0.
        scale: batch size / base batch size, above 0.

    Returns:
        A float, or an array of the arguments' shape; between 1 and `scale`.

    Reference: Johnson et al., arXiv 2007.05105, section 3.
    """
    variance = np.maximum(np.asarray(variance, float), _LEAST_VARIANCE)
    squared_norm = np.maximum(np.asarray(squared_norm, float), 0)
    gain = (variance + squared_norm) / (variance / scale + squared_norm)
    return float(gain) if not gain.shape else gain


def cabs_batch_size(learning_rate: float, variance: float, loss: float) -> float:
    """The CABS rule: learning_rate · tr(Σ) / loss, in examples.

    >>> cabs_batch_size(0.1, variance=800.0, loss=0.5)
    160.0

    Args:
        learning_rate: of SGD, at least 0.
        variance: tr(Σ), at least 0.
        loss: of the training, above 0, its minimum taken as 0.

    Raises:
        UserError: an argument is out of its range.

    Reference: Balles, Romero, Hennig, arXiv 1612.05086, section 3.
    """
    variance = checks.not_negative("variance", variance)
    loss = checks.positive("loss", loss)
    return checks.not_negative("learning_rate", learning_rate) * variance / loss
