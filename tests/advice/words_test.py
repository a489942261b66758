"""The sentences of `lbkeras plan --auto`."""

import dataclasses
import json
import math

import pytest

from lbkeras.advice.advisor import Advice
from lbkeras.advice.plan import MeasuredEpoch
from lbkeras.advice.probe import Probe
from lbkeras.advice.words import advice_data, format_reasons, reasons
from lbkeras.planning import Phase, Plan

BASELINE = Plan([Phase(0, 8, 10, 0.1, 0.9)], 1000)
PLAN = Plan([Phase(0, 1, 10, 0.1, 0.9), Phase(1, 7, 20, 0.15, 0.9)], 1000)


def advice(plan=PLAN, lower=25.0, upper=60.0, large_step=0.02, pieces=1):
    measured = [MeasuredEpoch(10, lower, upper, 100.0, 1.0, 0.5, 2.0)] * 2
    probes = {10: Probe(10, 10, 1, 0.02, 1.0, None)}
    if plan is not BASELINE:
        probes[20] = Probe(20, 20 // pieces, pieces, large_step, 1.0, None)
    return Advice(BASELINE, plan, measured, probes, [16.0], [2.0, 7.0][: len(plan.phases)])


def test_the_reasons_give_the_measured_numbers():
    text = " ".join(reasons(advice()))
    assert "starting with batch size 10 (4.0 s of training). The critical" in text
    assert "between 25 and 60 examples after the first epoch" in text
    assert "10 in epoch 1, 20 in epochs 2 to 8" in text
    assert "1.5 at 20 (2 times the batch)" in text
    assert "450 instead of 800, 1.78 times fewer in the same 8 epochs" in text
    assert "9.0 s instead of 16.0 s, 0.56 times the time" in text
    assert "500 at 10, 1,000 at 20; larger batches use this machine better" in text
    assert "every batch size of both plans fits at once" in text


def test_it_warns_if_gradients_are_clipped():
    assert "clips" not in " ".join(reasons(advice()))
    clipped = dataclasses.replace(advice(), clipping="global_clipnorm=1.0")
    assert "clips gradients (global_clipnorm=1.0)" in " ".join(reasons(clipped))


def test_it_says_if_larger_batches_are_not_faster():
    assert "are hardly faster here: fewer updates, but no less time" in " ".join(
        reasons(advice(large_step=0.04))
    )
    assert "are even slower here" in " ".join(reasons(advice(large_step=0.08)))


def test_it_says_what_does_not_fit():
    text = " ".join(reasons(advice(pieces=4)))
    assert "20 in pieces of 5; train with --micro_batch_size=5" in text


@pytest.mark.parametrize(
    "lower, upper, why",
    [
        (15.0, 60.0, "bound after the last epoch, 15, is below twice the batch size of 10, so"),
        (2.0, 7.0, "already above the critical batch size: a smaller one, towards 7"),
        (math.nan, math.nan, "The critical batch size is not known"),
    ],
)
def test_why_a_plan_is_kept(lower, upper, why):
    text = " ".join(reasons(advice(BASELINE, lower, upper)))
    assert "The recommended plan is your own." in text and why in text
    assert "AdaptiveBatchSize" not in text


def test_a_plan_that_grows_as_far_as_measured_is_kept_for_that_reason():
    own = Plan([Phase(0, 1, 10, 0.1, 0.9), Phase(1, 7, 40, 0.1, 0.9)], 1000)
    kept = dataclasses.replace(advice(BASELINE, 30.0), baseline=own, plan=own)
    assert "Its batch sizes, up to 40, are already as large as" in " ".join(reasons(kept))


def test_a_plan_is_kept_if_a_larger_batch_raised_the_loss():
    rose = [MeasuredEpoch(size, 30.0, 60.0, 100.0, 1.0, size / 10, 2.0) for size in (10, 20)]
    text = " ".join(reasons(dataclasses.replace(advice(BASELINE, 30.0), measured=rose)))
    assert "rose when batch size and learning rate grew beyond 10, so they stay as they are" in text


def test_the_data_are_json():
    data = json.loads(json.dumps(advice_data("small", advice(upper=math.inf)), allow_nan=False))
    assert data["predicted_seconds"] == 9.0 and data["own_predicted_seconds"] == 16.0
    assert Plan.from_dict(data["plan"]) == PLAN
    assert data["measured"][0]["lower"] == 25.0 and data["measured"][0]["upper"] is None


def test_lines_are_wrapped_and_numbered():
    lines = format_reasons(["word " * 40, "end"], width=50).splitlines()
    assert lines[0].startswith(" 1. word") and lines[-1] == " 2. end"
    assert max(map(len, lines)) <= 50
