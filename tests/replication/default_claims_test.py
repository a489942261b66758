"""The default claims of a comparison that states none."""

import pytest

from lbkeras.replication.claims import Claim
from lbkeras.replication.default_claims import default_claims

ARMS = ["own", "large", "larger"]


@pytest.mark.parametrize(
    ("metric", "better", "margin", "expected"),
    [
        ("val_accuracy", "higher", None, ("not_worse", 0.01, None)),
        ("val_accuracy", "higher", 0.002, ("not_worse", 0.002, None)),
        ("val_top_5_accuracy", "higher", None, ("not_worse", 0.01, None)),
        ("val_loss", "lower", None, ("ratio_at_least", None, 0.95)),
        ("val_error", "lower", 0.5, ("not_worse", 0.5, None)),
        ("val_score", "higher", 0.5, ("not_worse", 0.5, None)),
        ("val_score", "higher", None, None),
        ("val_score", None, None, None),
        ("val_score", None, 0.5, None),
    ],
)
def test_each_other_arm_against_the_first(metric, better, margin, expected):
    claims = [Claim.from_dict(data, ARMS) for data in default_claims(ARMS, metric, better, margin)]
    assert [(claim.arm, claim.baseline) for claim in claims] == (
        [("large", "own"), ("larger", "own")] if expected else []
    )
    for claim in claims:
        assert (claim.test, claim.margin, claim.ratio) == expected
        assert claim.lower_is_better == (better == "lower") and claim.metric == metric


@pytest.mark.parametrize(
    ("metric", "margin", "statement"),
    [
        ("val_accuracy", None, "large keeps the test accuracy of own to within 1 point."),
        ("val_mae", None, "large has at most 1.05 times the test mae of own."),
        ("val_mae", 0.25, "large keeps the test mae of own to within 0.25."),
    ],
)
def test_a_claim_says_how_much_counts(metric, margin, statement):
    better = "higher" if metric == "val_accuracy" else "lower"
    (claim,) = default_claims(ARMS[:2], metric, better, margin)
    assert claim["statement"] == statement


def test_one_arm_has_no_claim():
    assert default_claims(["own"], "val_accuracy", "higher") == []
