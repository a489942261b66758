"""A claim of `worse` is not supported if the loss is shown to be too small to matter."""

import functools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from lbkeras.replication import Claim, Evidence, judge, verdict
from tests.replication.arms import EXAMPLE, by_seed, claim, runs


def test_a_loss_shown_to_be_small_decides_against_worse():
    small = verdict(claim("worse"), by_seed([0.94] * 5), by_seed([0.94] * 5), resolution=EXAMPLE)
    assert small["verdict"] == "not supported"
    assert small["reason"] == (
        "b is worse than a by less than 1 point, if at all (test accuracy; p < 0.001; "
        "spread raised to one example)."
    )
    loss = (
        claim("worse", "val_loss", smallest_effect=0.05),
        by_seed([0.3, 0.31]),
        by_seed([0.3, 0.3]),
    )
    assert "worse than a by less than 0.05 test loss, if at all" in verdict(*loss)["reason"]


def test_a_small_loss_that_is_shown_supports_worse():
    result = verdict(claim("worse"), [0.940, 0.941, 0.942], [0.943, 0.944, 0.945])
    assert result["reason"].startswith("b is worse than a, by less than 1 point (test accuracy; p")
    assert max(result["p_value"], result["p_value_against"]) < 0.05
    large = verdict(claim("worse"), [0.910, 0.911, 0.912], [0.943, 0.944, 0.945])
    assert large["reason"].startswith("b is worse than a (test accuracy; p")


def test_counts_that_differ_by_too_little_to_matter():
    steps = claim("worse", "updates", smallest_effect=5.0)
    words = [verdict(steps, [n, n], [10, 10])["verdict"] for n in (9, 10, 12, 15, 16)]
    assert words == ["not supported"] * 2 + ["supported"] * 3


samples = st.lists(st.integers(0, 360), min_size=2, max_size=6)


@pytest.mark.filterwarnings("ignore:Precision loss")  # SciPy's, if an arm hardly varies
@given(samples, samples, st.floats(0, 0.1), st.sampled_from(["val_accuracy", "val_loss"]))
@settings(max_examples=50, deadline=None)
def test_non_inferiority_speaks_against_worse(arm, baseline, effect, metric):
    arm, baseline = np.divide(arm, 360), np.divide(baseline, 360)
    pair, test = (arm, baseline), functools.partial(stats.ttest_ind, equal_var=False)
    if len(arm) == len(baseline):
        pair, test = (by_seed(arm), by_seed(baseline)), stats.ttest_rel
    result = verdict(claim("worse", metric, smallest_effect=effect), *pair)
    if result["p_value"] is None:  # nothing varies
        return
    sides, lost = ("less", "greater"), arm + effect
    if metric == "val_loss":
        sides, lost = ("greater", "less"), arm - effect
    supports = test(arm, baseline, alternative=sides[0]).pvalue
    against = test(lost, baseline, alternative=sides[1]).pvalue
    assert result["p_value"] == pytest.approx(supports, rel=1e-6, abs=1e-12)
    assert result["p_value_against"] == pytest.approx(against, rel=1e-6, abs=1e-12)
    without = verdict(claim("worse", metric, smallest_effect=0.0), *pair)["verdict"]
    if without != "inconclusive":  # a verdict without it stays the same
        assert result["verdict"] == without


@pytest.mark.release  # test_non_inferiority_speaks_against_worse has the p-values
def test_no_loss_is_found_as_often_as_the_formula_says():
    random, tested, n = np.random.default_rng(7), claim("worse"), 5
    words = [verdict(tested, *pair)["verdict"] for pair in runs(random, 1000, n)]
    freedom, noncentrality = n - 1, 0.01 / (0.004 * (2 / n) ** 0.5)
    power = stats.nct.sf(stats.t.ppf(0.95, freedom), freedom, noncentrality)
    assert power > 0.9
    # Minus the fraction in which a loss is found that is not there; within 3 standard errors.
    assert power - 0.071 - 0.03 <= words.count("not supported") / 1000 <= power + 0.03


def test_with_diverged_seeds_the_loss_is_not_called_small():
    pair = by_seed([0.94, 0.941, 0.942]), by_seed([0.943, 0.944, 0.9451])
    whole, diverged = (verdict(claim("worse"), *pair, diverged_arm=d) for d in ([], [3]))
    assert whole["verdict"] == diverged["verdict"] == "supported"
    assert "by less than 1 point" in whole["reason"]
    assert "by less than" not in diverged["reason"]


def test_a_loss_hidden_only_by_the_correction_is_inconclusive():
    arm = dict(enumerate([0.9932, 0.9945, 0.9931, 0.9939]))
    baseline = dict(enumerate([0.9952, 0.9948, 0.9959, 0.9951]))
    worse = [
        Evidence(Claim(f"worse_{i}", "Worse.", "worse", "a", "b"), arm, baseline, resolution=1e-4)
        for i in range(5)
    ]
    for result in judge(worse):
        assert result["p_value"] < 0.05 < result["p_value_corrected"]
        assert result["p_value_against_corrected"] < 0.05
        assert result["verdict"] == "inconclusive"
    assert judge(worse[:1])[0]["verdict"] == "supported"
