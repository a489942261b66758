"""The reason of a verdict in words."""

from lbkeras import metrics
from lbkeras.replication.claims import Claim


def sentence(claim: Claim, word: str) -> str:
    """What the verdict says of the two arms, without a full stop."""
    label = metrics.of(claim.metric).label
    margin = f"{claim.margin or 0:g} {label}"
    if metrics.of(claim.metric).is_share:
        points = 100 * (claim.margin or 0)
        margin = f"{points:g} point{'' if points == 1 else 's'}"
    worse = f"more than {margin} worse than" if claim.margin else "worse than"
    subject, other = claim.arm, claim.baseline
    if claim.test == "ratio_at_least" and claim.ratio < 1 and not claim.is_cost:
        yes, no = (
            f"has {text} {1 / claim.ratio:.3g}x the {label} of" for text in ("at most", "more than")
        )
    elif claim.test == "ratio_at_least":
        subject, other = other, subject
        yes, no = (
            f"has {text} {claim.ratio:g}x the {label} of" for text in ("at least", "less than")
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


def bar_to_support(claim: Claim, diverged_arm, diverged_baseline) -> str:
    """Why diverged seeds rule out support, or an empty string."""
    if claim.test != "worse" and diverged_arm:
        return f"a seed of {claim.arm} diverged"
    if claim.test in ("worse", "equivalent") and diverged_baseline:
        return f"a seed of {claim.baseline} diverged"
    return ""


def bar_to_favour(claim: Claim, word: str, unreached_arm, unreached_baseline) -> str:
    """Why seeds that did not reach a target rule a verdict out, or an empty string.

    They count with what they spent, which favours their arm, so that no verdict may be in its
    favour; "equivalent" is in the favour of both.
    """
    if word == "inconclusive":
        return ""
    arms = {claim.arm: unreached_arm, claim.baseline: unreached_baseline}
    if claim.test != "equivalent":
        worse = (claim.test == "worse") == (word == "supported")
        favoured = claim.baseline if worse else claim.arm
        arms = {favoured: arms[favoured]}
    name = next((name for name, seeds in arms.items() if seeds), None)
    return f"a seed of {name} did not reach the target" if name else ""


def cannot_vary(claim: Claim) -> str:
    """Why values that do not vary decide nothing."""
    why = "how many examples it was measured on is not known"
    if not metrics.of(claim.metric).is_share:
        why = "without a spread there is no test"
    label, arms = metrics.of(claim.metric).label, f"{claim.arm} and {claim.baseline}"
    return f"{label} does not vary between the seeds of {arms}, and {why}."


def name_diverged(claim: Claim, diverged_arm, diverged_baseline) -> str:
    """A sentence for each arm with diverged seeds, or an empty string."""
    return "".join(
        f" Diverged, left out of the means: {name} seed {', '.join(map(str, seeds))}."
        for name, seeds in ((claim.arm, diverged_arm), (claim.baseline, diverged_baseline))
        if seeds
    )


def name_unreached(claim: Claim, unreached_arm, unreached_baseline) -> str:
    """A sentence that names the seeds which did not reach the target, or an empty string."""
    named = [
        f"{name} seed {', '.join(map(str, seeds))}"
        for name, seeds in ((claim.arm, unreached_arm), (claim.baseline, unreached_baseline))
        if seeds
    ]
    said = "Not reached, counted with what they spent"
    return f" {said}: {' and '.join(named)}." if named else ""


def format_p(p: float) -> str:
    """`p = 0.012`."""
    return "p < 0.001" if p < 0.001 else f"p = {p:.3f}"
