"""The default claims of a comparison that states none."""

from lbkeras import metrics
from lbkeras.replication.claims import POINT

MARGIN = POINT  # of a share
RATIO = 0.95


def default_claims(
    arms: list[str], metric: str, better: str | None, margin: float | None = None
) -> list[dict]:
    """Returns claims that no other arm is worse than the first, as data for `Claim.from_dict`.

    With a margin: the arm's mean is worse than the first arm's by at most the margin. A share, such
    as an accuracy, has a default margin of 0.01, one point. Without a margin, for a metric of which
    less is better (a loss, an error): baseline / arm >= 0.95.

    >>> [claim["test"] for claim in default_claims(["own", "large"], "val_loss", "lower")]
    ['ratio_at_least']

    Args:
        arms: the names of the arms, the baseline first.
        metric: a final value of their runs, such as "val_accuracy".
        better: `"higher"` or `"lower"`; None: not known.
        margin: absolute, in the metric's unit, above 0; None: the default described above.

    Returns:
        A claim for each arm except the first. No claims if the metric's better direction is not
        known, or if more is better but the metric is no share and has no margin.
    """
    label = metrics.of(metric).label
    if margin is None and metrics.of(metric).is_share:
        margin = MARGIN
    if margin is not None:
        test = dict(test="not_worse", margin=margin)
        words = f"keeps the {label} of {{}} to within {margin:g}"
        if metrics.of(metric).is_share:
            points = 100 * margin
            words = f"keeps the {label} of {{}} to within {points:g} point{'s' * (points != 1)}"
    else:
        test = dict(test="ratio_at_least", ratio=RATIO)
        words = f"has at most {1 / RATIO:.3g} times the {label} of {{}}"
    if better is None or margin is None and better != metrics.LOWER:
        return []
    baseline, *others = arms
    return [
        dict(
            name=f"{arm}_keeps_{metric}",
            statement=f"{arm} {words.format(baseline)}.",
            arm=arm,
            baseline=baseline,
            metric=metric,
            better=better,
            **test,
        )
        for arm in others
    ]
