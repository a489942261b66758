"""Verdicts in words: what they mean, and the reason for one."""

from lbkeras import metrics
from lbkeras.derived import is_target
from lbkeras.replication.claims import Claim

# What the verdicts and tests mean, as reports state it.
VERDICTS = (
    "supported: the seeds show it; not supported: they show the opposite, or an effect too small "
    "to matter; inconclusive: neither."
)
TEST_STATED = (
    f"{VERDICTS} One-sided t-tests over seeds, alpha 0.05: paired by seed if at least two seeds "
    "finished in both arms (pairs), otherwise Welch's. The p-values are corrected by Holm's method "
    "over all claims of this table that are not compared exactly (a claim without a test counts as "
    "p = 1), separately for those that support a claim and those that speak against it; the "
    "corrected p-value decides. not_worse: supported if 'arm <= baseline - margin' is rejected, "
    "not supported if 'arm >= baseline - margin' is rejected. worse: supported if "
    "'arm >= baseline' is rejected; otherwise not supported if 'arm <= baseline - the smallest "
    "effect that matters' is rejected and 'arm >= baseline' would not be rejected without the "
    "correction. The smallest effect that matters is one point for an accuracy and 0 for other "
    "metrics, unless the claim states another. equivalent: two one-sided tests. ratio_at_least: "
    "the same on logarithms. "
    "Everything else is inconclusive, including any claim with one seed in an arm. An accuracy "
    "counts whole examples, so a standard deviation below one example is raised to one example: "
    "arms that coincide in every seed are not known to be equal. Numbers of updates, examples and "
    "epochs that are the same for every seed are compared exactly. Other values that do not vary "
    "are inconclusive. Intervals are 90 %, which matches the one-sided tests, and are not "
    "corrected."
)
TARGETS_STATED = (
    "A seed that did not reach a target counts with what it spent, which is less than what it "
    "would need, so no verdict is in favor of its arm. A standard deviation below what a seed "
    "spends between two evaluations is raised to that amount."
)


def sentence(claim: Claim, word: str, small: bool = False) -> str:
    """Returns what the verdict says about the two arms, without a full stop.

    Args:
        claim: the claim.
        word: its verdict.
        small: for a supported `worse`, whether the seeds also show that the effect is too small to
            matter.
    """
    label, purpose, verb = metrics.of(claim.metric).label, "", "has"
    if is_target(claim.metric) and claim.test == "ratio_at_least":
        label, target = label.split(" to ", 1)
        verb, purpose = "needs", f" to reach a {target}"
    margin = _amount(claim, claim.margin or 0)
    effect = _amount(claim, claim.effect_that_matters)
    worse = f"more than {margin} worse than" if claim.margin else "worse than"
    subject, other = claim.arm, claim.baseline
    if claim.test == "ratio_at_least" and claim.ratio < 1 and not claim.is_cost:
        yes, no = (
            f"{verb} {text} {1 / claim.ratio:.3g}x the {label} of"
            for text in ("at most", "more than")
        )
    elif claim.test == "ratio_at_least":
        subject, other = other, subject
        yes, no = (
            f"{verb} {text} {claim.ratio:g}x the {label} of" for text in ("at least", "less than")
        )
    elif claim.test == "equivalent":
        yes, no = f"is within {margin} of", f"is not within {margin} of"
    elif claim.test == "not_worse":
        yes, no = f"is at most {margin} worse than", f"is {worse}"
    elif small:
        return f"{subject} is {worse} {other}, by less than {effect}"
    elif word == "not supported" and claim.effect_that_matters > (claim.margin or 0):
        return f"{subject} is worse than {other} by less than {effect}, if at all"
    else:
        yes, no = f"is {worse}", f"is not {worse}"
    if word == "inconclusive":
        return f"The seeds do not decide whether {subject} {yes} {other}{purpose}"
    return f"{subject} {yes if word == 'supported' else no} {other}{purpose}"


def _amount(claim: Claim, value: float) -> str:
    """Formats a difference: `1 point`, `0.05 test loss`, `2 epochs`."""
    metric = metrics.of(claim.metric)
    if metric.is_share:
        return f"{100 * value:g} point{'' if 100 * value == 1 else 's'}"
    if is_target(claim.metric):
        spent = metric.label.split(" to ")[0]
        return f"{value:g} {spent.removesuffix('s') if value == 1 else spent}"
    return f"{value:g} {metric.label}"


def bar_to_verdict(claim: Claim, word: str, diverged_arm, diverged_baseline) -> str:
    """Returns why diverged seeds rule out a verdict, or an empty string."""
    if word == "not supported" and claim.test == "worse" and diverged_arm:
        return f"a seed of {claim.arm} diverged"
    if word != "supported":
        return ""
    if claim.test != "worse" and diverged_arm:
        return f"a seed of {claim.arm} diverged"
    if claim.test in ("worse", "equivalent") and diverged_baseline:
        return f"a seed of {claim.baseline} diverged"
    return ""


def bar_to_favor(claim: Claim, word: str, unreached_arm, unreached_baseline) -> str:
    """Returns why seeds that did not reach a target rule out a verdict, or an empty string.

    They count with what they spent, which is in favor of their arm, so no verdict may be in its
    favor. "equivalent" is in favor of both arms.
    """
    if word == "inconclusive":
        return ""
    arms = {claim.arm: unreached_arm, claim.baseline: unreached_baseline}
    if claim.test != "equivalent":
        worse = (claim.test == "worse") == (word == "supported")
        favored = claim.baseline if worse else claim.arm
        arms = {favored: arms[favored]}
    name = next((name for name, seeds in arms.items() if seeds), None)
    return f"a seed of {name} did not reach the target" if name else ""


def cannot_vary(claim: Claim) -> str:
    """Returns why values that do not vary decide nothing."""
    why = "the number of examples it was measured on is not known"
    if not metrics.of(claim.metric).is_share:
        why = "a test needs some spread"
    label, arms = metrics.of(claim.metric).label, f"{claim.arm} and {claim.baseline}"
    return f"{label} does not vary between the seeds of {arms}, and {why}."


def name_diverged(claim: Claim, diverged_arm, diverged_baseline) -> str:
    """Returns a sentence for each arm with diverged seeds, or an empty string."""
    return "".join(
        f" Diverged, left out of the means: {name} seed {', '.join(map(str, seeds))}."
        for name, seeds in ((claim.arm, diverged_arm), (claim.baseline, diverged_baseline))
        if seeds
    )


def name_unreached(claim: Claim, unreached_arm, unreached_baseline) -> str:
    """Returns a sentence that names the seeds that did not reach the target, or an empty string."""
    named = [
        f"{name} seed {', '.join(map(str, seeds))}"
        for name, seeds in ((claim.arm, unreached_arm), (claim.baseline, unreached_baseline))
        if seeds
    ]
    said = "Target not reached, counted with what they spent"
    return f" {said}: {' and '.join(named)}." if named else ""


def format_p(p: float) -> str:
    """Formats a p-value: `p = 0.012`."""
    return "p < 0.001" if p < 0.001 else f"p = {p:.3f}"
