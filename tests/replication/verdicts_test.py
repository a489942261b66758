import numpy as np
import pytest
from scipy import stats

from lbkeras.replication import Claim, verdict

A, B = [0.93, 0.95, 0.94, 0.945], [0.944, 0.941, 0.946, 0.943]
MARGIN, RATIO = {"margin": 0.01}, {"ratio": 2.0}


def claim(test, metric="val_accuracy", **settings):
    return Claim("c", "A claim.", test, "b", "a", metric=metric, **settings)


@pytest.mark.parametrize(
    ("test", "settings", "arm", "baseline", "expected"),
    [
        ("not_worse", MARGIN, [0.943, 0.944, 0.945], [0.943, 0.944, 0.945], "supported"),
        ("not_worse", MARGIN, [0.963, 0.964, 0.965], [0.943, 0.944, 0.945], "supported"),
        ("not_worse", MARGIN, [0.903, 0.904, 0.905], [0.943, 0.944, 0.945], "not supported"),
        ("not_worse", MARGIN, [0.90, 0.94, 0.98], [0.93, 0.95, 0.94], "inconclusive"),
        ("not_worse", MARGIN, [0.93, 0.93], [0.94, 0.94], "supported"),
        ("not_worse", MARGIN, [0.92, 0.92], [0.94, 0.94], "not supported"),
        ("worse", {}, [0.933, 0.932, 0.934], [0.943, 0.944, 0.945], "supported"),
        ("worse", {}, [0.943, 0.944, 0.945], [0.933, 0.932, 0.934], "not supported"),
        ("worse", {}, [0.943, 0.944, 0.945], [0.942, 0.944, 0.946], "inconclusive"),
        ("worse", {}, [0.94, 0.94], [0.94, 0.94], "not supported"),
        ("worse", MARGIN, [0.938, 0.939, 0.937], [0.943, 0.944, 0.945], "not supported"),
        ("worse", MARGIN, [0.918, 0.919, 0.917], [0.943, 0.944, 0.945], "supported"),
        ("equivalent", MARGIN, [0.943, 0.944, 0.945], [0.944, 0.944, 0.945], "supported"),
        ("equivalent", MARGIN, [0.963, 0.964, 0.965], [0.943, 0.944, 0.945], "not supported"),
        ("equivalent", MARGIN, [0.923, 0.924, 0.925], [0.943, 0.944, 0.945], "not supported"),
        ("equivalent", MARGIN, [0.90, 0.94, 0.98], [0.943, 0.944, 0.945], "inconclusive"),
    ],
)
def test_accuracy_claims(test, settings, arm, baseline, expected):
    assert verdict(claim(test, **settings), arm, baseline)["verdict"] == expected


@pytest.mark.parametrize(
    ("metric", "arm", "baseline", "expected"),
    [
        ("updates", [1000, 1000], [2000, 2000], "supported"),
        ("updates", [1001, 1001], [2000, 2000], "not supported"),
        ("seconds", [10.0, 10.2, 9.9], [25.0, 26.0, 24.0], "supported"),
        ("seconds", [10.0, 10.2, 9.9], [15.0, 15.5, 14.0], "not supported"),
        ("seconds", [10.0, 12.0, 9.0], [20.0, 24.0, 19.0], "inconclusive"),
    ],
)
def test_ratio_claims(metric, arm, baseline, expected):
    assert verdict(claim("ratio_at_least", metric, **RATIO), arm, baseline)["verdict"] == expected


def test_losses_are_better_when_lower():
    low, high = [0.10, 0.11, 0.12], [0.30, 0.31, 0.32]
    not_worse = claim("not_worse", "val_loss", **MARGIN)
    assert verdict(not_worse, low, high)["verdict"] == "supported"
    assert verdict(not_worse, high, low)["verdict"] == "not supported"
    worse = claim("worse", "val_loss")
    assert verdict(worse, high, low)["verdict"] == "supported"
    assert verdict(worse, low, high)["verdict"] == "not supported"


@pytest.mark.parametrize("test", ["not_worse", "worse"])
def test_the_margin_of_a_loss_is_added_to_the_baseline(test):
    """A loss is worse when higher: the bound is baseline + margin."""
    arm, baseline, margin = [0.305, 0.315, 0.308, 0.312], [0.30, 0.31, 0.302, 0.309], 0.01
    above, below = (
        stats.ttest_ind(arm, np.add(baseline, margin), equal_var=False, alternative=side).pvalue
        for side in ("greater", "less")
    )
    supports, against = (below, above) if test == "not_worse" else (above, below)
    result = verdict(claim(test, "val_loss", margin=margin), arm, baseline)
    assert result["p_value"] == pytest.approx(supports, rel=1e-9)
    assert result["p_value_against"] == pytest.approx(against, rel=1e-9)


@pytest.mark.parametrize("test", ["not_worse", "worse", "equivalent"])
@pytest.mark.parametrize(("arm", "baseline"), [([0.1], [0.9, 0.91]), ([0.1, 0.11], [0.9])])
def test_one_seed_is_always_inconclusive(test, arm, baseline):
    settings = {} if test == "worse" else MARGIN
    result = verdict(claim(test, **settings), arm, baseline)
    assert result["verdict"] == "inconclusive"
    assert "n=1" in result["reason"]
    assert (result["p_value"], result["confidence_interval"]) == (None, None)


def test_one_exact_count_is_inconclusive_too():
    result = verdict(claim("ratio_at_least", "updates", **RATIO), [10], [1000])
    assert (result["verdict"], result["effect"]) == ("inconclusive", pytest.approx(100))


@pytest.mark.parametrize(("arm", "baseline", "named"), [([], A, "b"), (A, [], "a")])
def test_an_arm_without_runs_is_not_run(arm, baseline, named):
    result = verdict(claim("not_worse", **MARGIN), arm, baseline)
    assert result["verdict"] == "not run"
    assert f"No seed of {named}" in result["reason"]


@pytest.mark.parametrize(
    ("test", "settings", "arm", "diverged", "expected"),
    [
        ("not_worse", MARGIN, B, [3], "inconclusive"),
        ("equivalent", MARGIN, B, [3], "inconclusive"),
        ("not_worse", MARGIN, [0.5, 0.51, 0.52], [3], "not supported"),
        ("worse", {}, [0.5, 0.51, 0.52], [3], "supported"),
        ("worse", {}, [], [0, 1], "supported"),
        ("worse", {}, [], [0], "inconclusive"),
        ("not_worse", MARGIN, [], [0, 1], "not supported"),
        ("equivalent", MARGIN, [], [0, 1], "not supported"),
    ],
)
def test_diverged_seeds_of_the_arm(test, settings, arm, diverged, expected):
    result = verdict(claim(test, **settings), arm, B, diverged_arm=diverged)
    assert result["verdict"] == expected
    assert f"b seed {', '.join(map(str, diverged))}" in result["reason"]


@pytest.mark.parametrize(
    ("test", "settings", "arm", "expected"),
    [
        ("worse", {}, [0.5, 0.51, 0.52], "inconclusive"),
        ("equivalent", MARGIN, B, "inconclusive"),
        ("not_worse", MARGIN, B, "supported"),
    ],
)
def test_diverged_seeds_of_the_baseline(test, settings, arm, expected):
    result = verdict(claim(test, **settings), arm, B, diverged_baseline=[2])
    assert result["verdict"] == expected
    assert "a seed 2" in result["reason"]


def test_a_cheap_arm_that_diverges_does_not_support_a_ratio():
    ratio = claim("ratio_at_least", "updates", **RATIO)
    assert verdict(ratio, [10, 10], [90, 90], diverged_arm=[2])["verdict"] == "inconclusive"
    assert verdict(ratio, [], [90, 90], diverged_arm=[0, 1])["verdict"] == "inconclusive"


def test_p_values_are_welchs():
    shifted = np.add(A, 0.01)
    greater = stats.ttest_ind(shifted, B, equal_var=False, alternative="greater").pvalue
    less = stats.ttest_ind(np.subtract(A, 0.01), B, equal_var=False, alternative="less").pvalue
    plain = stats.ttest_ind(A, B, equal_var=False, alternative="less").pvalue
    result = verdict(claim("not_worse", **MARGIN), A, B)
    assert result["p_value"] == pytest.approx(greater, rel=1e-9)
    assert result["p_value_against"] == pytest.approx(1 - greater, rel=1e-9)
    equivalent = verdict(claim("equivalent", **MARGIN), A, B)
    assert equivalent["p_value"] == pytest.approx(max(greater, less), rel=1e-9)
    assert verdict(claim("worse"), A, B)["p_value"] == pytest.approx(plain, rel=1e-9)


def test_the_interval_is_welchs():
    expected = stats.ttest_ind(A, B, equal_var=False).confidence_interval(0.9)
    result = verdict(claim("not_worse", **MARGIN), A, B)
    assert result["confidence_interval"] == pytest.approx(list(expected), rel=1e-9)
    assert result["effect"] == pytest.approx(np.mean(A) - np.mean(B))


def test_ratios_are_welchs_on_logarithms():
    arm, baseline = [10.0, 12.0, 9.0], [25.0, 28.0, 21.0]
    logs = np.log(np.multiply(arm, 2)), np.log(baseline)
    expected = stats.ttest_ind(*logs, equal_var=False, alternative="less").pvalue
    interval = stats.ttest_ind(np.log(baseline), np.log(arm), equal_var=False)
    result = verdict(claim("ratio_at_least", "seconds", **RATIO), arm, baseline)
    assert result["p_value"] == pytest.approx(expected, rel=1e-9)
    bounds = np.exp(list(interval.confidence_interval(0.9)))
    assert result["confidence_interval"] == pytest.approx(list(bounds), rel=1e-9)


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_values_must_be_finite(bad):
    with pytest.raises(ValueError, match="expected finite values"):
        verdict(claim("worse"), [0.9, bad], B)


@pytest.mark.parametrize(
    "sizes",
    [(2, 2), (5, 3), *(pytest.param(each, marks=pytest.mark.slow) for each in [(3, 3), (5, 5)])],
)
@pytest.mark.parametrize("deviations", [(0.005, 0.005), (0.005, 0.01)])
@pytest.mark.parametrize(
    ("test", "settings", "difference", "wrong"),
    [
        ("not_worse", MARGIN, -0.01, "supported"),
        ("not_worse", MARGIN, -0.01, "not supported"),
        ("worse", {}, 0.0, "supported"),
        ("worse", {}, 0.0, "not supported"),
        ("equivalent", MARGIN, 0.01, "supported"),
        ("equivalent", MARGIN, -0.01, "not supported"),
    ],
)
def test_error_rates_at_the_margin(sizes, deviations, test, settings, difference, wrong):
    rounds, random = 2000, np.random.default_rng(7)
    arms = 0.94 + difference + deviations[0] * random.standard_normal((rounds, sizes[0]))
    baselines = 0.94 + deviations[1] * random.standard_normal((rounds, sizes[1]))
    tested = claim(test, **settings)
    words = [verdict(tested, *pair)["verdict"] for pair in zip(arms, baselines, strict=True)]
    # Welch's test is approximate: 0.05, and three standard errors of 2,000 rounds (0.015).
    assert words.count(wrong) / rounds <= 0.065
