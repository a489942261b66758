"""Verdicts: what the seeds of two arms say about a claim, by one-sided t-tests.

Seeds that both arms have are paired if there are at least two; otherwise Welch's test is used.
Counts that do not vary between seeds are compared exactly. The claims of one replication are
corrected together.
"""

import dataclasses
import math
import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from lbkeras import metrics
from lbkeras.derived import is_target
from lbkeras.replication.claims import Claim
from lbkeras.replication.comparison import ALPHA, compare, holm, p_values_of
from lbkeras.replication.reasons import (
    bar_to_favor,
    bar_to_verdict,
    cannot_vary,
    format_p,
    name_diverged,
    name_unreached,
    sentence,
)


@dataclasses.dataclass(frozen=True)
class Evidence:
    """A claim with what its two arms measured.

    Attributes:
        claim: the claim.
        arm: the metric of each finished seed of the claim's arm: a mapping from seed to value or,
            if the two arms do not share their seeds, a sequence of values in any order.
        baseline: the same for the baseline.
        diverged_arm: the arm's diverged seeds.
        diverged_baseline: the baseline's diverged seeds.
        resolution: the smallest change that a run can show, in the metric's unit. For an accuracy:
            1 / examples. For a target: what a run spends between two evaluations. One number, or
            one each for the arm and the baseline. None: not known, or as fine as a float.
        unreached_arm: for a target, the arm's seeds that did not reach it; their value is what
            they spent, a lower bound.
        unreached_baseline: the same for the baseline.
    """

    claim: Claim
    arm: Mapping[int, float] | Sequence[float]
    baseline: Mapping[int, float] | Sequence[float]
    diverged_arm: Sequence[int] = ()
    diverged_baseline: Sequence[int] = ()
    resolution: float | Sequence[float] | None = None
    unreached_arm: Sequence[int] = ()
    unreached_baseline: Sequence[int] = ()


def verdict(
    claim: Claim,
    values_arm: Mapping[int, float] | Sequence[float],
    values_baseline: Mapping[int, float] | Sequence[float],
    *,
    diverged_arm: Sequence[int] = (),
    diverged_baseline: Sequence[int] = (),
    resolution: float | Sequence[float] | None = None,
    unreached_arm: Sequence[int] = (),
    unreached_baseline: Sequence[int] = (),
) -> dict[str, Any]:
    """Decides a claim on its own, as the only one of its replication.

    Takes the fields of an `Evidence`; returns and raises what `judge` does for it.

    Example:

    >>> from lbkeras.replication import Claim, verdict
    >>> claim = Claim("keeps", "B keeps A's accuracy.", "not_worse", "b", "a", margin=0.01)
    >>> verdict(claim, {0: 0.943, 1: 0.945, 2: 0.944}, {0: 0.944, 1: 0.943, 2: 0.945})["verdict"]
    'supported'
    """
    evidence = Evidence(
        claim,
        values_arm,
        values_baseline,
        diverged_arm,
        diverged_baseline,
        resolution,
        unreached_arm,
        unreached_baseline,
    )
    return judge([evidence])[0]


def judge(evidence: Sequence[Evidence]) -> list[dict[str, Any]]:
    """Decides the claims of one replication from the finished seeds of their arms.

    If both arms have at least two finished seeds in common, the test is paired. With d the
    differences over these n seeds and s their standard deviation, at least `resolution`,
    `not_worse` is tested by

        t = (mean(d) + margin) / (s / √n)   with n - 1 degrees of freedom.

    Otherwise, with the standard deviations s_a and s_b, each at least `resolution`, it is tested by

        t = (mean(a) - mean(b) + margin) / √(s_a²/n_a + s_b²/n_b)

    with Welch's degrees of freedom. `reasons.TEST_STATED` describes every case. Counts that do not
    vary between seeds are compared exactly.

    The p-values are then corrected by Holm's method over the claims that are not compared exactly,
    separately for the p-values that support a claim and for those that speak against it. A claim
    without a test counts as p = 1. So the probability that any claim is wrongly supported is at
    most 5 %.

    Diverged seeds are left out of the means and named in the reason. An arm with a diverged seed
    cannot support `not_worse`, `equivalent` or `ratio_at_least`, nor decide against `worse`. If all
    of its seeds diverged (two or more) while all of the baseline's finished, `worse` is supported
    and the others are not supported, except for costs (updates, seconds), which stay inconclusive.
    A diverged baseline seed rules out support of `worse` and `equivalent`.

    A seed that did not reach a target counts with what it spent, a lower bound, which favors its
    arm. So no verdict in that arm's favor is possible. If the claim's arm has such a seed,
    `not_worse`, `equivalent` and `ratio_at_least` cannot be supported, and `worse` cannot be "not
    supported". If the baseline has one, `worse` and `equivalent` cannot be supported, and the
    others cannot be "not supported". Verdicts against the arm with such a seed remain possible.

    Args:
        evidence: an `Evidence` for each claim.

    Returns:
        For each claim a dictionary with
        `verdict`: "supported", "not supported", "inconclusive" or "not run";
        `p_value`: of the hypothesis that must be rejected for support; `p_value_against`: of the
        hypothesis whose rejection means "not supported" (None if no test was made);
        `p_value_corrected`, `p_value_against_corrected`: the same after Holm's correction; they
        decide the verdict, and "not supported" also needs a `p_value` of at least 5 %;
        `effect`: the arm's mean minus the baseline's, or baseline / arm (geometric means) for
        `ratio_at_least`; None if it cannot be computed or both arms have seeds that did not reach
        a target;
        `effect_is`: whether the true effect is "at least" or "at most" `effect`, if one of the two
        arms has seeds that did not reach a target; None if both have; left out if neither has;
        `confidence_interval`: the effect's 90 % confidence interval, or None;
        `n`: `{"arm": int, "baseline": int, "pairs": int}`, the finished seeds of each arm, and how
        many were paired;
        `reason`: why, in a sentence or more.

    Raises:
        ValueError: a value is not finite.
    """
    tests = [_Test(each) for each in evidence]
    family = [test for test in tests if not test.exact]
    for key in ("supports", "against"):
        p_values = [getattr(test, key) for test in family]
        corrected = holm([1.0 if p is None else p for p in p_values])
        for test, p in zip(family, corrected, strict=True):
            test.corrected[key] = p
            test.alone = len(family) == 1
    return [test.result() for test in tests]


class _Test:
    """The test of one claim: its two p-values, and the verdict once they are corrected."""

    def __init__(self, evidence: Evidence):
        self.evidence = evidence
        self.exact = False
        self.supports = self.against = self.comparison = self.decided = None
        self.corrected: dict[str, float] = {}
        self.alone = True
        arm, baseline = _values(evidence.arm), _values(evidence.baseline)
        if not all(math.isfinite(value) for value in arm + baseline):
            raise ValueError(f"expected finite values, received {arm} and {baseline}")
        self.n = {"arm": len(arm), "baseline": len(baseline), "pairs": 0}
        self.decided = _decide_unmeasured(evidence, arm, baseline)
        seeds = _common_seeds(evidence)
        if seeds:
            arm, baseline = (
                [values[s] for s in seeds] for values in (evidence.arm, evidence.baseline)
            )
        self.effect = _effect(evidence.claim, arm, baseline)
        if evidence.unreached_arm and evidence.unreached_baseline:
            self.effect = None
        if self.decided:
            return
        self.n["pairs"] = len(seeds)
        self.comparison = compare(evidence.claim, arm, baseline, bool(seeds), evidence.resolution)
        if self.comparison is None:
            self.decided = "inconclusive", cannot_vary(evidence.claim)
            return
        self.exact = self.comparison.error == 0
        self.supports, self.against = p_values_of(evidence.claim, self.comparison)
        if self.exact:
            self.corrected = {"supports": self.supports, "against": self.against}

    def result(self) -> dict[str, Any]:
        """Returns the claim's entry in what `judge` returns."""
        evidence, claim = self.evidence, self.evidence.claim
        word, reason = self.decided or self._decide()
        left_out = name_diverged(claim, evidence.diverged_arm, evidence.diverged_baseline)
        left_out += name_unreached(claim, evidence.unreached_arm, evidence.unreached_baseline)
        tested = not (self.decided or self.exact)
        interval = self.comparison.interval(claim) if self.comparison else None
        bounded = evidence.unreached_arm or evidence.unreached_baseline
        return {
            "verdict": word,
            "p_value": self.supports if tested else None,
            "p_value_against": self.against if tested else None,
            "p_value_corrected": self.corrected["supports"] if tested else None,
            "p_value_against_corrected": self.corrected["against"] if tested else None,
            "effect": self.effect,
            **({"effect_is": self._bound()} if bounded else {}),
            "confidence_interval": None if bounded else interval,
            "n": self.n,
            "reason": reason + left_out,
        }

    def _bound(self) -> str | None:
        """Returns whether the true effect is at least or at most the measured one.

        Only for a claim about a target that not every run reached.
        """
        if self.effect is None:
            return None
        grows = bool(self.evidence.unreached_arm) != (self.evidence.claim.test == "ratio_at_least")
        return "at least" if grows else "at most"

    def _decide(self) -> tuple[str, str]:
        claim, comparison = self.evidence.claim, self.comparison
        word, key = "inconclusive", "supports"
        if self.corrected["supports"] < ALPHA:
            word = "supported"
        elif self.corrected["against"] < ALPHA <= self.supports:  # not shown before correction
            word, key = "not supported", "against"
        if self.exact:
            how = "exact: these counts are the same for every seed"
        else:
            how = format_p(getattr(self, key))
            if not self.alone:
                how += f", corrected {format_p(self.corrected[key])}"
            if comparison.floored:
                unit = "evaluation" if is_target(claim.metric) else "example"
                how += f"; spread raised to one {unit}"
        # "by less than ..." would be in favor of the arm
        bounded = self.evidence.diverged_arm or self.evidence.unreached_arm
        small = claim.test == "worse" and not bounded and max(self.corrected.values()) < ALPHA
        reason = f"{sentence(claim, word, small)} ({metrics.of(claim.metric).label}; {how})"
        evidence = self.evidence
        barred = bar_to_verdict(claim, word, evidence.diverged_arm, evidence.diverged_baseline)
        if barred:
            what = "support" if word == "supported" else "that verdict"
            return "inconclusive", f"{reason}, but {barred}, which rules out {what}."
        favored = bar_to_favor(claim, word, evidence.unreached_arm, evidence.unreached_baseline)
        if favored:
            return "inconclusive", f"{reason}, but {favored}, which rules out that verdict."
        return word, f"{reason}."


def _decide_unmeasured(evidence: Evidence, arm, baseline) -> tuple[str, str] | None:
    """Returns verdict and reason if the finished seeds do not allow a test, else None."""
    claim = evidence.claim
    diverged_arm, diverged_baseline = evidence.diverged_arm, evidence.diverged_baseline
    if not arm and not diverged_arm or not baseline and not diverged_baseline:
        missing = claim.arm if not arm and not diverged_arm else claim.baseline
        return "not run", f"No seed of {missing} has finished."
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
        return "inconclusive", f"{' and '.join(few)}: a test needs at least two seeds per arm."
    if claim.test == "ratio_at_least" and min(arm + baseline) <= 0:
        return (
            "inconclusive",
            f"A ratio needs positive values, which {metrics.of(claim.metric).label} does not have.",
        )
    return None


def _common_seeds(evidence: Evidence) -> list[int]:
    """Returns the seeds that finished in both arms; none if there are fewer than two."""
    arm, baseline = evidence.arm, evidence.baseline
    if not (isinstance(arm, Mapping) and isinstance(baseline, Mapping)):
        return []
    seeds = [seed for seed in arm if seed in baseline]
    return seeds if len(seeds) > 1 else []


def _effect(claim: Claim, arm: list[float], baseline: list[float]) -> float | None:
    if not arm or not baseline:
        return None
    if claim.test == "ratio_at_least":
        if min(arm + baseline) <= 0:
            return None
        logs = [statistics.fmean(map(math.log, values)) for values in (arm, baseline)]
        return math.exp(logs[1] - logs[0])
    return statistics.fmean(arm) - statistics.fmean(baseline)


def _values(values: Mapping[int, float] | Sequence[float]) -> list[float]:
    return list(values.values() if isinstance(values, Mapping) else values)
