"""How long a plan takes, computed from made-up measurements."""

import pytest

from lbkeras.advice import predict
from lbkeras.advice.plan import MeasuredEpoch
from lbkeras.advice.probe import Probe
from lbkeras.planning import Phase, Plan

PLAN = Plan([Phase(0, 2, 10, 0.1, 0.9), Phase(2, 1, 20, 0.1, 0.9), Phase(3, 3, 40, 0.1, 0.9)], 400)


def probes(pieces=1):
    steps = {10: 0.1, 20: 0.2, 40: 0.25}
    return {
        size: Probe(size, size // pieces, pieces, seconds, startup_seconds=2.0, memory_mb=None)
        for size, seconds in steps.items()
    }


@pytest.mark.parametrize("pieces, compiles, third", [(1, False, 3), (2, False, 2), (1, True, 2)])
def test_predicted_seconds(pieces, compiles, third):
    times = predict.FitTimes(
        epoch_overhead_seconds=0.5, trace_seconds=(4.0, 3.0), slowdown=1.5, compiles=compiles
    )
    seconds = predict.predicted_seconds(PLAN, probes(pieces), times)
    first = 2 * 40 * 0.1 * 1.5 + 2 * 0.5 + 4
    second = 20 * 0.2 * 1.5 + 0.5 + 3
    assert seconds == pytest.approx([first, second, 3 * 10 * 0.25 * 1.5 + 3 * 0.5 + third])


def test_a_batch_size_that_comes_again_is_not_traced_again():
    plan = Plan([Phase(0, 1, 10, 0.1, 0.9), Phase(1, 1, 10, 0.01, 0.9)], 400)
    times = predict.FitTimes(
        epoch_overhead_seconds=0.0, trace_seconds=(4.0, 3.0), slowdown=1.0, compiles=True
    )
    assert predict.predicted_seconds(plan, probes(), times) == pytest.approx([8.0, 4.0])


def epoch(batch_size, seconds, to_start):
    return MeasuredEpoch(batch_size, 1.0, 2.0, 1.0, 1.0, 1.0, seconds, to_start)


def test_what_fit_takes_in_addition_to_the_steps():
    # 40 steps of 0.1 s or 20 of 0.2 s are 4 s per epoch, here 6 s; the last 10 ms are noise
    measured = [epoch(10, 6 + 5 + 0.5, 5.5), epoch(20, 6 + 3 + 0.5, 3.5), epoch(20, 6.5, 0.51)]
    times = predict.fit_times(400, measured, probes(), epoch_overhead_seconds=0.5, compiles=False)
    assert times.trace_seconds == pytest.approx((5.0, 3.0))
    assert times.slowdown == pytest.approx(1.5)


def test_a_size_that_was_not_tried_and_steps_too_short_to_compare():
    measured = [epoch(10, 1.3, 1.1), epoch(10, 0.2, 0.1), epoch(80, 50.0, 3.1)]
    times = predict.fit_times(400, measured, probes(), epoch_overhead_seconds=0.1, compiles=False)
    assert times.trace_seconds == pytest.approx((1.0, 3.0)) and times.slowdown == 1.0


def test_the_trace_of_an_epoch_of_one_call_is_its_time_without_the_steps():
    measured = [epoch(10, 9.5, 5.5), epoch(20, 4 + 3 + 0.5, None), epoch(20, 4.5, None)]
    times = predict.fit_times(400, measured, probes(), epoch_overhead_seconds=0.5, compiles=False)
    assert times.trace_seconds == pytest.approx((5.0, 3.0))
    assert times.slowdown == pytest.approx(1.0)


def test_the_second_trace_if_only_one_size_was_measured():
    times = predict.fit_times(400, [epoch(10, 9.0, 1.1)] * 2, probes(), 0.1, False)
    assert times.trace_seconds == pytest.approx((1.0, 2.0))


def test_the_predicted_time_counts_the_start_of_a_batch_size_once():
    plan = Plan(
        [Phase(0, 2, 64, 0.1, 0.9), Phase(2, 1, 640, 0.1, 0.9), Phase(3, 3, 640, 0.01, 0.9)], 6400
    )
    tried = {
        64: Probe(64, 64, 1, seconds_per_step=0.1, startup_seconds=2.0, memory_mb=None),
        640: Probe(640, 64, 10, seconds_per_step=0.5, startup_seconds=3.0, memory_mb=None),
    }
    assert tried[640].examples_per_second == pytest.approx(1280)
    assert predict.predicted_seconds(plan, tried) == pytest.approx([22.0, 8.0, 15.0])
