"""Running means of an update's estimates, and the noise scale with its error from them."""

import math

import numpy as np
from numpy.typing import ArrayLike

from lbkeras.methods.noise_scale.estimates import gradient_noise_scale


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

    def __init__(self, state: ArrayLike | None = None):
        self.state = np.zeros((8, 1)) if state is None else np.array(state, np.float64)

    def add(self, variance: ArrayLike, squared_norm: ArrayLike, decay: float) -> None:
        """Adds an update's estimates, unless one of them is infinite or not a number.

        Args:
            variance: tr(Σ), a number or of shape (columns,).
            squared_norm: |G|², likewise.
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
