"""Running means of the updates' estimates, and the gradient noise scale with its error."""

import math

import numpy as np
from numpy.typing import ArrayLike

from lbkeras.methods.noise_scale.estimates import gradient_noise_scale


class GradientNoiseAverages:
    """Running means of tr(Σ) and |G|² over updates, and the ratio of these means.

    Each mean is m <- decay · m + (1 − decay) · value, divided by the sum of weights, which corrects
    for the start at 0. The ratio is taken of the means, since a mean of ratios would be biased;
    single estimates are not clamped at 0, which would also add a bias.

    The standard error of a mean is s √(sum w_t²), with s² the weighted variance of the updates'
    values, corrected for the number of values. The error of the ratio follows from the delta
    method:

        error² = (e_v² − 2 r e_vg + r² e_g²) / |G|⁴,    r = tr(Σ) / |G|²

    This assumes that the updates' values are independent and identically distributed. In fact,
    weights hardly move between updates, which makes the error too small, and the drift of both
    means within the window counts as noise, which makes it too large. Terms beyond the first order
    are neglected.

    >>> averages = GradientNoiseAverages()
    >>> for variance, squared_norm in [(7.0, 0.6), (9.0, 0.4), (8.0, 0.5)]:
    ...     averages.add(variance, squared_norm, decay=0.9)
    >>> round(averages.noise_scale, 1), round(averages.error, 1)
    (16.2, 3.0)

    Args:
        state: the attribute `state` of earlier averages; None: no updates yet.

    Attributes:
        state: float64 of shape (8, columns), one column for each group of weights. The rows are the
            number of updates, the sums of the weights w_t and of w_t², and the running sums of v,
            g, v², v g and g², with v = tr(Σ) and g = |G|².

    Reference: arXiv:1812.06162, appendix A.1; the delta method: any text on statistics.
    """

    def __init__(self, state: ArrayLike | None = None):
        self.state = np.zeros((8, 1)) if state is None else np.array(state, np.float64)

    def add(self, variance: ArrayLike, squared_norm: ArrayLike, decay: float) -> None:
        """Adds an update's estimates, unless one of them is infinite or not a number.

        Args:
            variance: tr(Σ), a number or of shape (columns,).
            squared_norm: |G|², a number or of shape (columns,).
            decay: factor for the weights of all earlier updates, in [0, 1).
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
        """The number of updates in the means."""
        return int(self.state[0, 0])

    @property
    def variance(self) -> float:
        """The mean of tr(Σ) in the last column (all weights); nan without updates."""
        return float(self.columns()["variance"][-1])

    @property
    def squared_norm(self) -> float:
        """The mean of |G|² in the last column; nan without updates."""
        return float(self.columns()["squared_norm"][-1])

    @property
    def noise_scale(self) -> float:
        """tr(Σ) / |G|² in examples, in the last column; see `columns`."""
        return float(self.columns()["noise_scale"][-1])

    @property
    def error(self) -> float:
        """The standard error of the noise scale in the last column; see `columns`."""
        return float(self.columns()["error"][-1])

    def columns(self) -> dict[str, np.ndarray]:
        """Returns `variance`, `squared_norm`, `noise_scale` and `error`, each of shape (columns,).

        If the mean of |G|² is not above its own standard error, |G|² may be 0 and the noise scale
        infinite. Then `noise_scale` is the lower bound tr(Σ) / (error of |G|²), and `error` is the
        same number. Both are nan before the second update.
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
        """Returns bounds of the noise scale from the standard errors e of both means.

        The bounds are (tr(Σ) − e_v) / (|G|² + e_g) and (tr(Σ) + e_v) / (|G|² − e_g) in the last
        column. If |G|² may be 0, the upper bound is infinite. Both are nan before the second update
        and if there is no gradient at all.
        """
        v, g, e_vv, _, e_gg = (float(each[-1]) for each in self._means())
        if not math.isfinite(e_vv) or max(v, g) <= 0:
            return math.nan, math.nan
        e_v, e_g = math.sqrt(e_vv), math.sqrt(e_gg)
        lower = gradient_noise_scale(v - e_v, max(g, 0.0) + e_g)
        return lower, gradient_noise_scale(v + e_v, g - e_g)

    def _means(self):
        """Returns the means of v and g, and these means' variances and covariance, per column."""
        with np.errstate(divide="ignore", invalid="ignore"):
            _, weight, squares, *sums = self.state
            v, g, vv, vg, gg = (each / weight for each in sums)
            squares = squares / weight**2  # for weights that add up to 1
            share = np.where(squares < 1, squares / (1 - squares), np.nan)
            e_vv = share * np.maximum(vv - v * v, 0)
            e_gg = share * np.maximum(gg - g * g, 0)
            return v, g, e_vv, share * (vg - v * g), e_gg
