"""The claims of a comparison for which nobody has stated any."""

from lbkeras import metrics
from lbkeras.replication.claims import POINT

MARGIN = POINT  # of a share
RATIO = 0.95


def default_claims(
    arms: list[str], metric: str, better: str | None, margin: float | None = None
) -> list[dict]:
    """That each other arm is no worse than the first, as data for `Claim.from_dict`.

    With a margin, and for a share (an accuracy, whose margin is then 0.01, a point): the arm's mean
    is not worse than the first's by more than the margin. Otherwise for a metric of which less is
    better (a loss, an error): the first's is at least 0.95 of the arm's, baseline / arm >= 0.95.

    >>> [claim["test"] for claim in default_claims(["own", "large"], "val_loss", "lower")]
    ['ratio_at_least']

    Args:
        arms: the names of the arms, the baseline first.
        metric: a final value of their runs, such as "val_accuracy".
        better: `"higher"` or `"lower"`; None: not known.
        margin: absolute, in the metric's unit, above 0; None: as said above.

    Returns:
        A claim for each arm but the first; none where it is not known which way the metric is
        better, or more is better and neither a margin nor a share says how much counts.
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
