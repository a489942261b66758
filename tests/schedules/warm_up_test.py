import pytest
from hypothesis import given
from hypothesis import strategies as st

from lbkeras.errors import UserError
from lbkeras.schedules import prepend_warm_up, steps, warm_up
from tests.schedules.curves import CURVES


@pytest.mark.parametrize("name", CURVES)
@given(warmup_epochs=st.floats(0.01, 9.9))
def test_warm_up_is_continuous_and_does_not_change_the_rest(name, warmup_epochs):
    curve = CURVES[name]
    ramped = warm_up(curve, warmup_epochs, 0.001)
    assert ramped(0) == 0.001 and ramped.end == curve.end
    assert ramped(warmup_epochs) == curve(warmup_epochs)
    assert ramped.segments[0].final == curve(warmup_epochs)
    for epoch in (warmup_epochs + 0.03, 6.4, 9.95, 10):
        if epoch >= warmup_epochs:
            assert ramped(epoch) == curve(epoch)
    half = (0.001 + curve(warmup_epochs)) / 2
    assert ramped(warmup_epochs / 2) == pytest.approx(half, rel=1e-12)


def test_warm_up_over_a_jump_rises_to_the_later_value():
    assert warm_up(steps([0.4, 0.04], [2], 10), 3, 0.01)(2.999999) == pytest.approx(0.04, rel=1e-5)


def test_warm_up_shapes():
    curve = steps([1.0], [], 10)
    assert warm_up(curve, 2, 0.01, "exponential")(1) == pytest.approx(0.1)
    assert [warm_up(curve, 2, 0.01, "constant")(e) for e in (0, 1.99, 2)] == [0.01, 0.01, 1.0]
    assert warm_up(curve, 0, 0.01) is curve


@pytest.mark.parametrize("cut_off", [0, 3])
@pytest.mark.parametrize("name", CURVES)
def test_prepended_warm_up_shifts_the_whole_curve(name, cut_off):
    """Also a curve whose first part has been cut off, so that its shape begins before its start."""
    curve = warm_up(CURVES[name], cut_off, 0.001)
    shifted = prepend_warm_up(curve, 2.5, 0.0)
    assert shifted.end == 12.5 and shifted(0) == 0
    for epoch in (0, 1.5, 7.25, 10):
        assert shifted(epoch + 2.5) == pytest.approx(curve(epoch), rel=1e-12)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: warm_up(steps([1], [], 10), 10, 0),
            "warmup_epochs: expected a number of at least 0 and below 10, where the curve ends, "
            "received 10",
        ),
        (
            lambda: prepend_warm_up(steps([1], [], 10), -1, 0),
            "warmup_epochs: expected a number of at least 0, received -1",
        ),
    ],
)
def test_message(make, message):
    with pytest.raises(UserError) as error:
        make()
    assert str(error.value) == message
