import numpy as np
import pytest
from scipy import stats

from lbkeras.replication import Evidence, judge, verdict
from tests.replication.arms import EXAMPLE, by_seed, claim, runs

A, B = [0.93, 0.95, 0.94, 0.945], [0.944, 0.941, 0.946, 0.943]
MARGIN, RATIO = {"margin": 0.01}, {"ratio": 2.0}
EFFECT_0 = {"smallest_effect": 0.0}


BOTH = ("supported", "not supported")


@pytest.mark.parametrize(
    ("test", "settings", "arm", "baseline", "expected"),
    [
        ("not_worse", MARGIN, [0.943, 0.944, 0.945], [0.943, 0.944, 0.945], "supported"),
        ("not_worse", MARGIN, [0.963, 0.964, 0.965], [0.943, 0.944, 0.945], "supported"),
        ("not_worse", MARGIN, [0.903, 0.904, 0.905], [0.943, 0.944, 0.945], "not supported"),
        ("not_worse", MARGIN, [0.90, 0.94, 0.98], [0.93, 0.95, 0.94], "inconclusive"),
        ("worse", {}, [0.933, 0.932, 0.934], [0.943, 0.944, 0.945], "supported"),
        ("worse", {}, [0.943, 0.944, 0.945], [0.933, 0.932, 0.934], "not supported"),
        ("worse", {}, [0.943, 0.944, 0.945], [0.942, 0.944, 0.946], "not supported"),
        ("worse", {}, [0.940, 0.941, 0.942], [0.943, 0.944, 0.945], "supported"),
        ("worse", {}, [0.90, 0.94, 0.98], [0.93, 0.95, 0.94], "inconclusive"),
        ("worse", EFFECT_0, [0.943, 0.944, 0.945], [0.942, 0.944, 0.946], "inconclusive"),
        ("worse", EFFECT_0, [0.943, 0.944, 0.945], [0.933, 0.932, 0.934], "not supported"),
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
        ("updates", [1000, 1010, 990], [2100, 2050, 2080], "supported"),
        ("examples_seen", [1000, 1000], [2000, 2000], "supported"),
        ("seconds", [10.0, 10.2, 9.9], [25.0, 26.0, 24.0], "supported"),
        ("seconds", [10.0, 10.2, 9.9], [15.0, 15.5, 14.0], "not supported"),
        ("seconds", [10.0, 12.0, 9.0], [20.0, 24.0, 19.0], "inconclusive"),
        ("seconds", [10.0, 10.0], [30.0, 30.0], "inconclusive"),  # a time is not a count
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
        ("worse", {}, B, [4], "inconclusive"),
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


def test_a_ratio_of_what_is_not_positive_is_inconclusive():
    result = verdict(claim("ratio_at_least", "sharpness", **RATIO), [0.0, 1.0], [3.0, 4.0])
    assert (result["verdict"], result["effect"]) == ("inconclusive", None)


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_values_must_be_finite(bad):
    with pytest.raises(ValueError, match="expected finite values"):
        verdict(claim("worse"), [0.9, bad], B)


@pytest.mark.parametrize(
    "sizes",
    [(2, 2), (5, 3), *(pytest.param(n, marks=pytest.mark.release) for n in [(3, 3), (5, 5)])],
)
@pytest.mark.parametrize("deviations", [(0.005, 0.005), (0.005, 0.01)])
@pytest.mark.parametrize(
    ("test", "settings", "difference", "wrong"),
    [
        ("not_worse", MARGIN, -0.01, BOTH),
        ("worse", EFFECT_0, 0.0, BOTH),
        pytest.param("worse", {}, 0.0, BOTH[:1], marks=pytest.mark.release),  # as EFFECT_0
        pytest.param("worse", {}, -0.01, BOTH[1:], marks=pytest.mark.release),  # as not_worse
        ("equivalent", MARGIN, 0.01, BOTH),
        ("equivalent", MARGIN, -0.01, BOTH),
    ],
)
def test_error_rates_at_the_margin(sizes, deviations, test, settings, difference, wrong):
    rounds, random = 2000, np.random.default_rng(7)
    arms = 0.94 + difference + deviations[0] * random.standard_normal((rounds, sizes[0]))
    baselines = 0.94 + deviations[1] * random.standard_normal((rounds, sizes[1]))
    tested = claim(test, **settings)
    words = [verdict(tested, *pair)["verdict"] for pair in zip(arms, baselines, strict=True)]
    # Welch's test is approximate: 0.05 plus three standard errors of 2,000 rounds (0.015).
    assert all(words.count(word) / rounds <= 0.065 for word in wrong)


def test_seeds_of_both_arms_are_paired():
    arm, baseline = {3: 0.93, 0: 0.95, 1: 0.94, 2: 0.945}, by_seed([0.955, 0.944, 0.948, 0.931])
    same_order = [arm[seed] for seed in baseline]
    expected = stats.ttest_rel(np.add(same_order, 0.01), list(baseline.values()))
    result = verdict(claim("not_worse", **MARGIN), arm, baseline)
    assert result["n"] == {"arm": 4, "baseline": 4, "pairs": 4}
    above = stats.t.sf(expected.statistic, 3)
    assert result["p_value"] == pytest.approx(above, rel=1e-9)
    assert result["p_value_against"] == pytest.approx(1 - above, rel=1e-9)
    interval = expected.confidence_interval(0.9)
    bounds = [interval.low - 0.01, interval.high - 0.01]
    assert result["confidence_interval"] == pytest.approx(bounds, rel=1e-9)


def test_ratios_are_paired_on_logarithms():
    arm, baseline = [10.0, 12.0, 9.0], [25.0, 28.0, 21.0]
    expected = stats.ttest_rel(np.log(np.multiply(arm, 2)), np.log(baseline), alternative="less")
    result = verdict(claim("ratio_at_least", "seconds", **RATIO), by_seed(arm), by_seed(baseline))
    assert result["p_value"] == pytest.approx(expected.pvalue, rel=1e-9)


def test_only_seeds_that_finished_in_both_arms_are_paired():
    arm, baseline = {0: 0.95, 1: 0.94, 2: 0.2}, {3: 0.7, 1: 0.945, 0: 0.95}
    result = verdict(claim("worse"), arm, baseline, diverged_arm=[3], diverged_baseline=[2])
    assert result["n"] == {"arm": 3, "baseline": 3, "pairs": 2}
    assert result["effect"] == pytest.approx(-0.0025)


def test_arms_with_fewer_than_two_common_seeds_are_not_paired():
    apart = dict(zip((0, 1, 2, 3), A, strict=True)), dict(zip((3, 4, 5, 6), B, strict=True))
    result = verdict(claim("not_worse", **MARGIN), *apart)
    assert result == verdict(claim("not_worse", **MARGIN), A, B)
    assert result["n"]["pairs"] == 0


@pytest.mark.parametrize(
    ("n", "margin", "expected"),
    [
        (4, 0.01, "supported"),
        (4, 0.003, "inconclusive"),  # one example is 0.0028
        (2, 0.01, "inconclusive"),
        (20, 0.003, "supported"),
    ],
)
def test_accuracies_that_coincide_in_every_seed_differ_by_up_to_an_example(n, margin, expected):
    values = by_seed([0.98, 0.975] * (n // 2))
    result = verdict(claim("equivalent", margin=margin), values, values, resolution=EXAMPLE)
    p = stats.t.sf(margin / (EXAMPLE / n**0.5), n - 1)
    assert result["p_value"] == pytest.approx(p, rel=1e-9)
    assert result["verdict"] == expected
    assert "spread raised to one example" in result["reason"]
    worse = verdict(claim("worse", **EFFECT_0), values, values, resolution=EXAMPLE)
    assert (worse["verdict"], worse["p_value"]) == ("inconclusive", pytest.approx(0.5))


def test_without_pairs_each_arm_varies_by_at_least_an_example():
    result = verdict(claim("not_worse", **MARGIN), [0.98] * 3, [0.97] * 3, resolution=EXAMPLE)
    p = stats.t.sf(0.02 / (EXAMPLE * (2 / 3) ** 0.5), 4)
    assert result["p_value"] == pytest.approx(p, rel=1e-9)


def test_a_spread_above_an_example_stays_as_it_is():
    pair = by_seed(A), by_seed(B)
    assert verdict(claim("worse"), *pair, resolution=EXAMPLE / 9) == verdict(claim("worse"), *pair)


@pytest.mark.parametrize(
    ("metric", "arm", "baseline", "why"),
    [
        ("val_accuracy", [0.98, 0.98], [0.5, 0.5], "the number of examples it was measured on"),
        ("val_accuracy", [0.9694444537162781, 0.5], [0.9722222089767456, 0.5027777], "number of"),
        ("val_loss", [0.1, 0.1], [0.5, 0.5], "a test needs some spread"),
        ("consensus_distance", [0.0, 0.0], [0.0, 0.0], "a test needs some spread"),
    ],
)
def test_values_that_do_not_vary_are_not_exact(metric, arm, baseline, why):
    result = verdict(claim("worse", metric), by_seed(arm), by_seed(baseline))
    assert (result["verdict"], result["p_value"]) == ("inconclusive", None)
    assert why in result["reason"]


def test_tiny_values_that_vary_are_tested():
    arm, baseline = by_seed([2e-9, 2.1e-9, 2.2e-9]), by_seed([1e-9, 1.2e-9, 1.1e-9])
    result = verdict(claim("worse", "consensus_distance"), arm, baseline)
    assert result["verdict"] == "supported"


def test_claims_of_one_replication_are_corrected_together():
    clear = Evidence(claim("worse"), by_seed([0.80, 0.81, 0.82]), by_seed([0.93, 0.95, 0.94]))
    almost = by_seed([0.931, 0.938, 0.932]), by_seed([0.93, 0.94, 0.935])
    close = Evidence(claim("not_worse", margin=0.0055), *almost)
    assert verdict(close.claim, close.arm, close.baseline)["verdict"] == "supported"
    exact = Evidence(claim("ratio_at_least", "updates", **RATIO), [20, 20], [30, 30])
    first, second, third = judge([clear, close, exact])
    assert second["p_value"] == second["p_value_corrected"]  # the largest of two
    assert first["p_value_corrected"] == pytest.approx(2 * first["p_value"])
    assert "corrected p = " in first["reason"]
    assert (third["verdict"], third["p_value_corrected"]) == ("not supported", None)

    # A claim that has not been run yet counts in the family.
    later = Evidence(claim("worse"), {}, {})
    *_, second, _ = judge([clear, later, close, exact])
    assert second["p_value_corrected"] == pytest.approx(2 * second["p_value"])
    assert second["verdict"] == "inconclusive" and second["p_value"] < 0.05


@pytest.mark.parametrize("seeds", [3, 20])
@pytest.mark.parametrize("examples", [None, 360])
@pytest.mark.parametrize(
    ("test", "settings", "difference", "wrong"),
    [
        ("not_worse", MARGIN, -0.01, BOTH),
        ("worse", EFFECT_0, 0.0, BOTH),
        pytest.param("worse", {}, 0.0, BOTH[:1], marks=pytest.mark.release),  # as EFFECT_0
        pytest.param("worse", {}, -0.01, BOTH[1:], marks=pytest.mark.release),  # as not_worse
        ("equivalent", MARGIN, 0.01, BOTH),
    ],
)
def test_paired_tests_have_error_rate_alpha(seeds, examples, test, settings, difference, wrong):
    random, tested = np.random.default_rng(7), claim(test, **settings)
    resolution = 1 / examples if examples else None
    words = [
        verdict(tested, *pair, resolution=resolution)["verdict"]
        for pair in runs(random, 1000, seeds, difference, examples)
    ]
    # 0.05 plus three standard errors of 1,000 rounds (0.021).
    shares = {word: words.count(word) / 1000 for word in wrong}
    assert max(shares.values()) <= 0.071
    if not examples and test != "equivalent" and wrong == BOTH:
        assert min(shares.values()) >= 0.029


def test_a_margin_below_one_example_is_not_supported_by_coincidence():
    """The arm loses one of 360 examples in 40 % of the seeds: on average 0.4, the margin."""
    random, tested = np.random.default_rng(7), claim("not_worse", margin=0.4 * EXAMPLE)
    lost = random.random((1000, 10)) < 0.4
    baseline = by_seed([0.95] * 10)
    words = [
        verdict(tested, by_seed(0.95 - EXAMPLE * each), baseline, resolution=EXAMPLE)["verdict"]
        for each in lost
    ]
    assert words.count("supported") / 1000 <= 0.071


def test_paired_tests_have_the_formulas_power_and_more_than_unpaired_ones():
    random, tested, n = np.random.default_rng(7), claim("worse"), 5
    pairs = list(runs(random, 1000, n, -0.008))
    found = [verdict(tested, *pair)["verdict"] == "supported" for pair in pairs]
    without = [
        verdict(tested, *(list(each.values()) for each in pair))["verdict"] == "supported"
        for pair in pairs
    ]
    noncentrality = 0.008 / (0.004 * (2 / n) ** 0.5)
    power = stats.nct.sf(stats.t.ppf(0.95, n - 1), n - 1, noncentrality)
    assert abs(sum(found) / 1000 - power) <= 0.045  # three standard errors
    assert sum(without) < sum(found) - 300


def test_a_family_of_claims_has_the_error_rate_of_one():
    random, tested, rounds = np.random.default_rng(7), claim("worse"), 500
    values = 0.94 + 0.004 * random.standard_normal((rounds, 6, 5))
    single = corrected = 0
    for baseline, *arms in values:
        results = judge([Evidence(tested, by_seed(arm), by_seed(baseline)) for arm in arms])
        single += any(result["p_value"] < 0.05 for result in results)
        corrected += any(result["verdict"] == "supported" for result in results)
    assert corrected / rounds <= 0.08 < 0.11 <= single / rounds
