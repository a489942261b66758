"""Verdicts: what the seeds of two arms say about a claim, by Welch's one-sided t-tests."""

import math
import statistics
from collections.abc import Sequence
from typing import Any

from lbkeras.replication.claims import Claim

ALPHA = 0.05
TEST_STATED = (
    "Welch's t-test over seeds, one-sided, alpha 0.05, each claim by itself (no correction for "
    "several claims). not_worse: supported when 'arm <= baseline - margin' is rejected, not "
    "supported when 'arm >= baseline - margin' is rejected. worse: supported when "
    "'arm >= baseline' is rejected, not supported when 'arm <= baseline' is. equivalent: two "
    "one-sided tests. ratio_at_least: the same on logarithms. Otherwise inconclusive. One seed in "
    "an arm is always inconclusive; values that vary in neither arm are compared exactly. "
    "Intervals are 90 %, which matches the one-sided tests."
)


def verdict(
    claim: Claim,
    values_arm: Sequence[float],
    values_baseline: Sequence[float],
    *,
    diverged_arm: Sequence[int] = (),
    diverged_baseline: Sequence[int] = (),
) -> dict[str, Any]:
    """Decides a claim from the finished seeds of its two arms.

    With se² = s_a²/n_a + s_b²/n_b and Welch's degrees of freedom, the shifted difference
    t = (a - b + margin) / se is compared with Student's t (`TEST_STATED` has every case).

    Diverged seeds stay out of the means and are named in the reason. An arm with one cannot support
    `not_worse`, `equivalent` or `ratio_at_least`; if all of its seeds diverged (two or more) while
    all of the baseline's finished, `worse` is supported and the others are not, except for costs
    (updates, seconds), which stay inconclusive. A diverged baseline seed rules out support of
    `worse` and `equivalent`.

    Args:
        claim: the claim.
        values_arm: the metric of each finished seed of the claim's arm.
        values_baseline: the same of the baseline.
        diverged_arm: the arm's diverged seeds.
        diverged_baseline: the baseline's.

    Returns:
        `verdict`: "supported", "not supported", "inconclusive" or "not run";
        `p_value`: of the hypothesis that must be rejected for support; `p_value_against`: of the
        one whose rejection means "not supported" (None where no test was made);
        `effect`: mean of the arm minus mean of the baseline, or baseline / arm (geometric means)
        for `ratio_at_least`; `confidence_interval`: 90 % of the effect, or None;
        `n`: `{"arm": int, "baseline": int}`; `reason`: one sentence.

    Raises:
        ValueError: a value is not finite, or not positive under `ratio_at_least`.

    Example:

    >>> from lbkeras.replication import Claim, verdict
    >>> claim = Claim("keeps", "B keeps A's accuracy.", "not_worse", "b", "a", margin=0.01)
    >>> verdict(claim, [0.943, 0.945, 0.944], [0.944, 0.943, 0.945])["verdict"]
    'supported'
    """
    arm, baseline = list(values_arm), list(values_baseline)
    if not all(math.isfinite(value) for value in arm + baseline):
        raise ValueError(f"expected finite values, received {arm} and {baseline}")
    result = {
        "verdict": "inconclusive",
        "p_value": None,
        "p_value_against": None,
        "effect": _effect(claim, arm, baseline),
        "confidence_interval": None,
        "n": {"arm": len(arm), "baseline": len(baseline)},
    }
    diverged = _name_diverged(claim, diverged_arm, diverged_baseline)
    decided = _decide_unmeasured(claim, arm, baseline, diverged_arm, diverged_baseline)
    if decided is not None:
        return {**result, "verdict": decided[0], "reason": decided[1] + diverged}
    margin = claim.margin or 0.0
    scale = math.log if claim.test == "ratio_at_least" else float
    comparison = _Comparison([scale(x) for x in arm], [scale(x) for x in baseline])
    word, supports, against = _test(claim, comparison, margin)
    half = comparison.half_width()
    bounds = (comparison.difference - half, comparison.difference + half)
    if claim.test == "ratio_at_least":
        bounds = (math.exp(-bounds[1]), math.exp(-bounds[0]))
    result |= {"confidence_interval": list(bounds)}
    if comparison.exact:
        how = "exact: no value varies between seeds"
    else:
        result |= {"p_value": supports, "p_value_against": against}
        how = _format_p(against if word == "not supported" else supports)
    reason = f"{_sentence(claim, word)} ({claim.metric}; {how})"
    barred = _bar_support(claim, diverged_arm, diverged_baseline)
    if word == "supported" and barred:
        word, reason = "inconclusive", f"{reason}, but {barred}, which rules out support"
    return {**result, "verdict": word, "reason": f"{reason}.{diverged}"}


class _Comparison:
    """Welch's comparison of two samples of at least two values."""

    def __init__(self, arm: list[float], baseline: list[float]):
        self.difference = statistics.fmean(arm) - statistics.fmean(baseline)
        parts = [_variance(values) / len(values) for values in (arm, baseline)]
        self.error = math.sqrt(sum(parts))
        self.exact = self.error == 0
        self._rounding = 1e-12 * max(1.0, *(abs(value) for value in arm + baseline))
        if not self.exact:
            shares = [part / sum(parts) for part in parts]
            sizes = (len(arm), len(baseline))
            self.freedom = 1 / sum(s * s / (n - 1) for s, n in zip(shares, sizes, strict=True))

    def p_above(self, bound: float, strict: bool = False) -> float:
        """p of "difference <= bound"; exactly 0 or 1 if nothing varies.

        Then a difference that equals the bound counts as above it unless `strict`.
        """
        if self.exact:
            rounding = self._rounding if strict else -self._rounding
            return 0.0 if self.difference - bound > rounding else 1.0
        return _student_cdf(self.freedom, -(self.difference - bound) / self.error)

    def p_below(self, bound: float, strict: bool = False) -> float:
        """p of "difference >= bound", as `p_above`."""
        if self.exact:
            rounding = self._rounding if strict else -self._rounding
            return 0.0 if bound - self.difference > rounding else 1.0
        return _student_cdf(self.freedom, (self.difference - bound) / self.error)

    def half_width(self) -> float:
        """Half of the difference's 90 % confidence interval."""
        if self.exact:
            return 0.0
        from scipy.special import stdtrit

        return float(stdtrit(self.freedom, 1 - ALPHA)) * self.error


def _test(claim: Claim, comparison: _Comparison, margin: float) -> tuple[str, float, float]:
    """The verdict, the p-value that supports it and the one that speaks against it."""
    if claim.test == "ratio_at_least":  # log arm - log baseline <= -log ratio
        bound = -math.log(claim.ratio)
        supports = comparison.p_below(bound)
        against = comparison.p_above(bound, strict=True)
    elif claim.test == "equivalent":
        supports = max(comparison.p_above(-margin), comparison.p_below(margin))
        against = min(
            comparison.p_below(-margin, strict=True), comparison.p_above(margin, strict=True)
        )
    else:
        better = (comparison.p_above, comparison.p_below)
        if claim.lower_is_better:
            better, margin = better[::-1], -margin
        # worse: a difference of exactly -margin is not below it, so it speaks against
        above = better[0](-margin)
        below = better[1](-margin, strict=True)
        supports, against = (above, below) if claim.test == "not_worse" else (below, above)
    if supports < ALPHA:
        return "supported", supports, against
    return ("not supported" if against < ALPHA else "inconclusive"), supports, against


def _decide_unmeasured(claim, arm, baseline, diverged_arm, diverged_baseline):
    """Verdict and reason where there are too few finished seeds for a test, else None."""
    if not arm and not diverged_arm or not baseline and not diverged_baseline:
        missing = claim.arm if not arm and not diverged_arm else claim.baseline
        return "not run", f"No seed of {missing} has been run to its end."
    if not arm and len(diverged_arm) >= 2 and len(baseline) >= 2 and not diverged_baseline:
        reason = f"Every seed of {claim.arm} diverged and none of {claim.baseline} did."
        if claim.is_cost:
            return "inconclusive", reason
        return ("supported" if claim.test == "worse" else "not supported"), reason
    few = [
        f"{name} has n={len(values)}"
        for name, values in ((claim.arm, arm), (claim.baseline, baseline))
        if len(values) < 2
    ]
    if few:
        return "inconclusive", f"{' and '.join(few)}: a spread over seeds needs at least two."
    if claim.test == "ratio_at_least" and min(arm + baseline) <= 0:
        raise ValueError(f"expected positive values of {claim.metric}, received {arm + baseline}")
    return None


def _bar_support(claim: Claim, diverged_arm, diverged_baseline) -> str:
    """Why diverged seeds rule out support, or an empty string."""
    if claim.test != "worse" and diverged_arm:
        return f"a seed of {claim.arm} diverged"
    if claim.test in ("worse", "equivalent") and diverged_baseline:
        return f"a seed of {claim.baseline} diverged"
    return ""


def _sentence(claim: Claim, word: str) -> str:
    """What the verdict says of the two arms, without a full stop."""
    margin = f"{claim.margin or 0:g} {claim.metric}"
    if claim.metric.endswith("accuracy"):
        points = 100 * (claim.margin or 0)
        margin = f"{points:g} point{'' if points == 1 else 's'}"
    worse = f"more than {margin} worse than" if claim.margin else "worse than"
    subject, other = claim.arm, claim.baseline
    if claim.test == "ratio_at_least":
        subject, other = other, subject
        yes, no = (
            f"has {text} {claim.ratio:g}x the {claim.metric} of"
            for text in ("at least", "less than")
        )
    elif claim.test == "equivalent":
        yes, no = f"is within {margin} of", f"is not within {margin} of"
    elif claim.test == "not_worse":
        yes, no = f"is at most {margin} worse than", f"is {worse}"
    else:
        yes, no = f"is {worse}", f"is not {worse}"
    if word == "inconclusive":
        return f"The seeds do not decide whether {subject} {yes} {other}"
    return f"{subject} {yes if word == 'supported' else no} {other}"


def _name_diverged(claim: Claim, diverged_arm, diverged_baseline) -> str:
    return "".join(
        f" Diverged, left out of the means: {name} seed {', '.join(map(str, seeds))}."
        for name, seeds in ((claim.arm, diverged_arm), (claim.baseline, diverged_baseline))
        if seeds
    )


def _effect(claim: Claim, arm: list[float], baseline: list[float]) -> float | None:
    if not arm or not baseline:
        return None
    if claim.test == "ratio_at_least":
        if min(arm + baseline) <= 0:
            return None
        logs = [statistics.fmean(map(math.log, values)) for values in (arm, baseline)]
        return math.exp(logs[1] - logs[0])
    return statistics.fmean(arm) - statistics.fmean(baseline)


def _variance(values: list[float]) -> float:
    return 0.0 if min(values) == max(values) else statistics.variance(values)


def _student_cdf(freedom: float, t: float) -> float:
    from scipy.special import stdtr  # a tenth of scipy.stats' import time

    return float(stdtr(freedom, t))


def _format_p(p: float) -> str:
    return "p < 0.001" if p < 0.001 else f"p = {p:.3f}"
