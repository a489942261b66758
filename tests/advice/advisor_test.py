"""What the advisor predicts, by arithmetic; what it refuses."""

import pytest

from lbkeras import config
from lbkeras.advice import advisor
from lbkeras.advice.plan import MeasuredEpoch
from lbkeras.advice.probe import Probe
from lbkeras.errors import UserError
from lbkeras.planning import Phase, Plan

PLAN = Plan([Phase(0, 2, 10, 0.1, 0.9), Phase(2, 1, 20, 0.1, 0.9), Phase(3, 3, 40, 0.1, 0.9)], 400)
SETTINGS = config.experiment(
    data=dict(name="digits", num_examples=400),
    model=dict(name="mlp"),
    optimizer=dict(name="SGD"),
    plan=dict(
        name="written_plan",
        phases=[dict(first_epoch=0, epochs=6, batch_size=10, learning_rate=0.1, momentum=0.9)],
    ),
    arms={},
).to_dict()


def probes(pieces=1):
    steps = {10: 0.1, 20: 0.2, 40: 0.25}
    return {
        size: Probe(size, size // pieces, pieces, seconds, seconds_to_start=2.0, memory_mb=None)
        for size, seconds in steps.items()
    }


@pytest.mark.parametrize("pieces, compiles, third", [(1, False, 3), (2, False, 2), (1, True, 2)])
def test_predicted_seconds(pieces, compiles, third):
    times = advisor.FitTimes(an_epoch=0.5, traces=(4.0, 3.0), slowdown=1.5, compiles=compiles)
    seconds = advisor.phase_seconds(PLAN, probes(pieces), times)
    first = 2 * 40 * 0.1 * 1.5 + 2 * 0.5 + 4
    second = 20 * 0.2 * 1.5 + 0.5 + 3
    assert seconds == pytest.approx([first, second, 3 * 10 * 0.25 * 1.5 + 3 * 0.5 + third])


def test_a_batch_size_that_comes_again_is_not_traced_again():
    plan = Plan([Phase(0, 1, 10, 0.1, 0.9), Phase(1, 1, 10, 0.01, 0.9)], 400)
    times = advisor.FitTimes(an_epoch=0.0, traces=(4.0, 3.0), slowdown=1.0, compiles=True)
    assert advisor.phase_seconds(plan, probes(), times) == pytest.approx([8.0, 4.0])


def epoch(batch_size, seconds, to_start):
    return MeasuredEpoch(batch_size, 1.0, 2.0, 1.0, 1.0, 1.0, seconds, to_start)


def test_what_fit_takes_beside_the_steps():
    # 40 steps of 0.1 s, 20 of 0.2 s: bare 4 s an epoch, here 6 s; 10 ms of chance are no trace
    measured = [epoch(10, 6 + 5 + 0.5, 5.5), epoch(20, 6 + 3 + 0.5, 3.5), epoch(20, 6.5, 0.51)]
    times = advisor.fit_times(400, measured, probes(), an_epoch=0.5, compiles=False)
    assert times.traces == pytest.approx((5.0, 3.0))
    assert times.slowdown == pytest.approx(1.5)


def test_a_size_that_is_not_tried_and_too_short_a_time():
    measured = [epoch(10, 1.3, 1.1), epoch(10, 0.2, 0.1), epoch(80, 50.0, 3.1)]
    times = advisor.fit_times(400, measured, probes(), an_epoch=0.1, compiles=False)
    assert times.traces == pytest.approx((1.0, 3.0)) and times.slowdown == 1.0


def test_an_epoch_of_one_call_tells_the_trace_by_what_the_steps_take():
    measured = [epoch(10, 9.5, 5.5), epoch(20, 4 + 3 + 0.5, None), epoch(20, 4.5, None)]
    times = advisor.fit_times(400, measured, probes(), an_epoch=0.5, compiles=False)
    assert times.traces == pytest.approx((5.0, 3.0))
    assert times.slowdown == pytest.approx(1.0)


def test_the_second_trace_where_only_one_size_was_measured():
    times = advisor.fit_times(400, [epoch(10, 9.0, 1.1)] * 2, probes(), 0.1, False)
    assert times.traces == pytest.approx((1.0, 2.0))


def refused(**sections):
    with pytest.raises(UserError) as error:
        advisor.check_arm(SETTINGS | sections, "small")
    return str(error.value)


def test_what_it_refuses():
    plan = SETTINGS["plan"]
    short = [plan["phases"][0] | dict(epochs=1)]
    assert refused(plan=plan | dict(phases=short)) == (
        "plan: expected more epochs than the 2 that --auto measures at least, received 1"
    )
    assert refused(data=SETTINGS["data"] | dict(num_examples=63)) == (
        "data.num_examples: expected at least 64, which the noise scale is measured with, "
        "received 63"
    )
    assert refused(optimizer=dict(name="DmSGD", num_nodes=2)) == (
        "--arm: expected one that trains one model, received 'small', whose optimizer.num_nodes=2 "
        "train one each; --auto has no advice for decentralized training"
    )
    assert refused(callbacks=dict(GradientNoiseScale={}, AdaptiveBatchSize={})) == (
        "--arm: expected one whose plan says its batch size, received 'small', where "
        "callbacks.AdaptiveBatchSize sets it while it trains"
    )
    assert "learning rate" in refused(callbacks=dict(AutoWU={}))
    advisor.check_arm(SETTINGS | dict(callbacks=dict(GradientNoiseScale={})), "small")
