import pytest

from lbkeras.errors import UserError
from lbkeras.replication import Claim, verdict

GOOD = {
    "name": "keeps",
    "statement": "It keeps the accuracy.",
    "source": "Table 1",
    "tag": "secondary",
    "test": "not_worse",
    "arm": "large",
    "baseline": "small",
    "metric": "val_accuracy",
    "margin": 0.01,
    "paper": {"arm": 0.944, "baseline": 0.943},
}


def test_a_claim_round_trips():
    claim = Claim.from_dict(GOOD, ["small", "large"])
    assert claim.to_dict() == GOOD
    assert Claim.from_dict(claim.to_dict()) == claim


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"margn": 1}, r"claim 'keeps': key: .* received 'margn' \(did you mean 'margin'\?\)"),
        ({"arm": "lage"}, r"claim 'keeps': arm: .* received 'lage' \(did you mean 'large'\?\)"),
        ({"baseline": "x"}, "baseline: expected one of small, large, received 'x'"),
        ({"test": "not_wors"}, "did you mean 'not_worse'"),
        ({"margin": None}, "expected a positive number for 'margin', received None"),
        ({"margin": 0}, "expected a positive number for 'margin'"),
        ({"margin": float("nan")}, "expected a positive number for 'margin'"),
        ({"test": "equivalent", "margin": True}, "expected a positive number for 'margin'"),
        ({"test": "worse", "margin": -1}, "expected a number >= 0 for 'margin'"),
        ({"smallest_effect": 0.01}, "no value with the test 'not_worse' for 'smallest_effect'"),
        ({"test": "worse", "smallest_effect": 0.001}, "expected a number >= 0.01 for 'smallest_"),
        ({"margin": 1.0}, "expected a share below 1 .a point is 0.01. for 'margin', received 1.0"),
        ({"test": "worse", "smallest_effect": 2}, "expected a share below 1 .* 'smallest_effect'"),
        ({"test": "worse", "smallest_effect": "small"}, "expected a number >= 0.01 for 'smallest_"),
        ({"test": "ratio_at_least"}, "expected a positive number for 'ratio', received None"),
        ({"test": "ratio_at_least", "ratio": 2}, "no value with the test .* for 'margin'"),
        ({"ratio": 2}, "expected no value with the test 'not_worse' for 'ratio'"),
        ({"tag": "M?"}, "expected stated, secondary, both, arithmetic or recalled for 'tag'"),
        ({"tag": "doubted"}, "arithmetic or recalled for 'tag', received 'doubted'"),
        ({"tag": "sure"}, "arithmetic or recalled for 'tag', received 'sure'"),
        ({"baseline": "large"}, "an arm other than the claim's"),
        ({"statement": 3}, "expected text for 'statement'"),
        ({"tag": ["S"]}, "expected text for 'tag'"),
        ({"metric": "sharpness_of_edges"}, "expected higher or lower for the metric 'sharpness_of"),
        ({"paper": 3}, "expected a dictionary for 'paper'"),
    ],
)
def test_errors(change, message):
    with pytest.raises(UserError, match=message):
        Claim.from_dict({**GOOD, **change}, ["small", "large"])


def test_a_missing_key_is_named():
    with pytest.raises(UserError, match="expected the key 'statement', received none"):
        Claim.from_dict({key: value for key, value in GOOD.items() if key != "statement"})


@pytest.mark.parametrize(("metric", "lower"), [("val_accuracy", False), ("val_loss", True)])
def test_what_is_better(metric, lower):
    assert Claim.from_dict({**GOOD, "metric": metric}).lower_is_better is lower


def test_a_metric_of_unknown_direction_asks_for_it():
    perplexity = {**GOOD, "metric": "val_perplexity"}
    with pytest.raises(UserError, match="expected higher or lower for the metric 'val_perplexity'"):
        Claim.from_dict(perplexity)
    with pytest.raises(UserError, match="expected higher or lower for 'better', received 'up'"):
        Claim.from_dict({**perplexity, "better": "up"})
    claim = Claim.from_dict({**perplexity, "better": "lower"})
    assert claim.lower_is_better and Claim.from_dict(claim.to_dict()) == claim
    tripled = verdict(claim, [3.0, 3.1, 3.2], [1.0, 1.1, 1.2])
    assert tripled["verdict"] == "not supported"
    assert not Claim.from_dict({**GOOD, "metric": "val_loss", "better": "higher"}).lower_is_better


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({}, 0.01),
        ({"metric": "val_accuracy_median_of_last_5"}, 0.01),
        ({"metric": "val_loss"}, 0.0),
        ({"metric": "sharpness"}, 0.0),
        ({"metric": "updates_to_val_accuracy_at_least_0.9"}, 0.0),
        ({"margin": 0.0}, 0.0),
        ({"margin": 0.02}, 0.02),
        ({"margin": 0.02, "smallest_effect": 0.03}, 0.03),
        ({"metric": "val_loss", "smallest_effect": 0.05}, 0.05),
        ({"smallest_effect": 0.0}, 0.0),
    ],
)
def test_which_effect_matters(change, expected):
    claim = Claim.from_dict({**GOOD, "test": "worse", "margin": None, **change})
    assert claim.effect_that_matters == expected
    assert Claim.from_dict(claim.to_dict()) == claim
