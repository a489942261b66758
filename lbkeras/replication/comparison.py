"""Compares the means of two arms: t-tests, exact comparisons, Holm's correction."""

import dataclasses
import math
import statistics
from collections.abc import Sequence

from lbkeras import metrics
from lbkeras.replication.claims import Claim

ALPHA = 0.05
# Records hold float32: a standard deviation below this fraction of the values is rounding.
_ROUNDING = 2.0**-22


@dataclasses.dataclass(frozen=True)
class Comparison:
    """The difference of two means with its standard error; an error of 0 means it is exact."""

    difference: float
    error: float
    freedom: float
    rounding: float
    floored: bool

    def p_above(self, bound: float, strict: bool = False) -> float:
        """Returns the p-value of "difference <= bound"; 0 or 1 if the difference is exact.

        An exact difference that equals the bound counts as above it unless `strict`.
        """
        if not self.error:
            rounding = self.rounding if strict else -self.rounding
            return 0.0 if self.difference - bound > rounding else 1.0
        return _student_cdf(self.freedom, -(self.difference - bound) / self.error)

    def p_below(self, bound: float, strict: bool = False) -> float:
        """Returns the p-value of "difference >= bound"; otherwise as `p_above`."""
        if not self.error:
            rounding = self.rounding if strict else -self.rounding
            return 0.0 if bound - self.difference > rounding else 1.0
        return _student_cdf(self.freedom, (self.difference - bound) / self.error)

    def interval(self, claim: Claim) -> list[float]:
        """Returns the 90 % confidence interval of the claim's effect."""
        half = 0.0
        if self.error:
            from scipy.special import stdtrit

            half = float(stdtrit(self.freedom, 1 - ALPHA)) * self.error
        low, high = self.difference - half, self.difference + half
        return [math.exp(-high), math.exp(-low)] if claim.test == "ratio_at_least" else [low, high]


def compare(
    claim: Claim, arm, baseline, paired: bool, resolution: float | Sequence[float] | None
) -> Comparison | None:
    """Compares two arms, on logarithms for a ratio; None if the values show no spread to test."""
    each = resolution if isinstance(resolution, Sequence) else [resolution or 0.0] * 2
    least = max(each)
    exact = metrics.of(claim.metric).count and not (_varies(arm) or _varies(baseline))
    if claim.test == "ratio_at_least":
        least = max(each[0] / min(arm), each[1] / min(baseline))
        arm, baseline = ([math.log(value) for value in values] for values in (arm, baseline))
    difference = statistics.fmean(arm) - statistics.fmean(baseline)
    if exact:
        rounding = 1e-12 * max(1.0, abs(arm[0]), abs(baseline[0]))
        return Comparison(difference, 0.0, math.inf, rounding, floored=False)
    largest = 1.0 if claim.test == "ratio_at_least" else max(map(abs, arm + baseline))
    samples = [[a - b for a, b in zip(arm, baseline, strict=True)]] if paired else [arm, baseline]
    found = [statistics.stdev(values) for values in samples]
    taken = [max(deviation, least) for deviation in found]
    parts = [s * s / len(values) for s, values in zip(taken, samples, strict=True)]
    if max(taken) <= _ROUNDING * largest:
        return None
    freedom = sum(parts) ** 2 / sum(
        part * part / (len(values) - 1) for part, values in zip(parts, samples, strict=True)
    )
    return Comparison(difference, math.sqrt(sum(parts)), freedom, 0.0, floored=found != taken)


def p_values_of(claim: Claim, comparison: Comparison) -> tuple[float, float]:
    """Returns the p-value that supports the claim and the one that speaks against it."""
    margin = claim.margin or 0.0
    if claim.test == "ratio_at_least":  # log arm - log baseline <= -log ratio
        bound = -math.log(claim.ratio)
        return comparison.p_below(bound), comparison.p_above(bound, strict=True)
    if claim.test == "equivalent":
        supports = max(comparison.p_above(-margin), comparison.p_below(margin))
        outside = comparison.p_below(-margin, strict=True), comparison.p_above(margin, strict=True)
        return supports, min(outside)
    above, below = comparison.p_above, comparison.p_below
    effect = claim.effect_that_matters
    if claim.lower_is_better:
        above, below, margin, effect = below, above, -margin, -effect
    if claim.test == "not_worse":
        return above(-margin), below(-margin, strict=True)
    # a difference of exactly -margin is not below it, so it speaks against
    return below(-margin, strict=True), above(-effect)


def holm(p_values: Sequence[float]) -> list[float]:
    """Corrects p-values by Holm's method; returns them in the given order.

    The k-th smallest of m p-values is multiplied by m - k + 1. A corrected value is at least that
    of any smaller p-value, and at most 1.

    >>> holm([0.25, 0.125, 0.5])
    [0.5, 0.375, 0.5]
    """
    corrected, largest = [0.0] * len(p_values), 0.0
    for rank, index in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[index]))
        corrected[index] = largest
    return corrected


def _varies(values: list[float]) -> bool:
    return min(values) != max(values)


def _student_cdf(freedom: float, t: float) -> float:
    from scipy.special import stdtr  # a tenth of scipy.stats' import time

    return float(stdtr(freedom, t))
