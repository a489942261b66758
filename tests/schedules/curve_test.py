import json
import math

import pytest

from lbkeras.errors import UserError
from lbkeras.schedules import Curve, Segment, steps, warm_up
from tests.schedules.curves import CURVES


@pytest.mark.parametrize(
    ("shape", "power", "expected"),
    [
        # Textbook formulas at a quarter of the way from 8 to 2.
        ("linear", 1, 8 + (2 - 8) * 0.25),
        ("polynomial", 2, (8 - 2) * (1 - 0.25) ** 2 + 2),
        ("polynomial", 0.5, (8 - 2) * math.sqrt(1 - 0.25) + 2),
        ("cosine", 1, 2 + (8 - 2) * (1 + math.cos(math.pi * 0.25)) / 2),
        ("exponential", 1, 8 * (2 / 8) ** 0.25),
    ],
)
def test_shapes(shape, power, expected):
    segment = Segment(3, 7, 8, 2, shape, power)
    assert segment.value(4) == pytest.approx(expected, rel=1e-14)
    assert segment.value(3) == segment.value(0) == 8
    assert segment.value(7) == segment.value(9) == 2


def test_a_cut_off_segment_keeps_its_start_value_before_its_start():
    segment = Segment(2, 10, 1.0, 0.0, "linear", origin=0)
    assert segment.value(2) == pytest.approx(0.8, rel=1e-14)
    assert segment.value(0) == segment.value(1.5) == segment.value(2)


def test_a_boundary_belongs_to_the_later_segment():
    curve = steps([0.1, 0.02, 0.004, 0.0008], [60, 120, 160], 200)
    assert [curve(e) for e in (0, 59.999, 60, 119.999, 120, 160, 200, 1e6)] == [
        0.1, 0.1, 0.02, 0.02, 0.004, 0.0008, 0.0008, 0.0008,
    ]  # fmt: skip


def test_an_epoch_that_misses_a_boundary_by_rounding_counts_as_at_it():
    boundary = 5 / 3
    assert 1 + 2 / 3 < boundary
    assert steps([1, 2], [boundary], 3)(1 + 2 / 3) == 2


@pytest.mark.parametrize("name", CURVES)
def test_round_trip_through_json(name):
    curve = warm_up(CURVES[name], 1.5, 0.001)
    restored = Curve.from_list(json.loads(json.dumps(curve.to_list())))
    assert restored == curve and hash(restored) == hash(curve)
    assert restored(7.7) == curve(7.7)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Segment(2, 2, 1, 1), "stop: expected an epoch after start=2, received 2"),
        (
            lambda: Segment(-1, 2, 1, 1),
            "start: expected a finite number of at least 0, received -1",
        ),
        (
            lambda: Segment(0, 2, 1, 0.5),
            "final: expected initial=1 for the constant shape, received 0.5",
        ),
        (
            lambda: Segment(0, 2, 1, 0, "cosin"),
            "shape: expected one of 'constant', 'linear', 'polynomial', 'cosine', 'exponential', "
            "received 'cosin' (did you mean 'cosine'?)",
        ),
        (
            lambda: Segment(0, 2, -1, 0, "linear"),
            "initial: expected a finite number of at least 0, received -1",
        ),
        (
            lambda: Segment(0, 2, 1, 0, "exponential"),
            "final: expected a finite number above 0, received 0",
        ),
        (
            lambda: Segment(0, 2, 1, 0, "polynomial", power=0),
            "power: expected a finite number above 0, received 0",
        ),
        (
            lambda: Segment(1, 2, 1, 0, "linear", origin=1.5),
            "origin: expected an epoch not after start=1, received 1.5",
        ),
        (lambda: Curve(()), "segments: expected at least one Segment, received none"),
        (lambda: Curve([3]), "segments[0]: expected a Segment, received 3"),
        (
            lambda: Curve([Segment(0, 2, 1, 1), Segment(3, 4, 1, 1)]),
            "segments[1].start: expected 2, where the one before it stops, received 3",
        ),
        (
            lambda: Curve.from_list([{"begin": 0}]),
            "segments[0]: expected a dict of start, stop, initial, final, shape, power, origin, "
            "received {'begin': 0}",
        ),
        (
            lambda: steps([1], [], 10)(-0.5),
            "epoch: expected a finite number of at least 0, received -0.5",
        ),
    ],
)
def test_message(make, message):
    with pytest.raises(UserError) as error:
        make()
    assert str(error.value) == message
