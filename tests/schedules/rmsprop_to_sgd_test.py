import math

import pytest

from lbkeras.errors import UserError
from lbkeras.schedules import rmsprop_to_sgd_fraction


def test_values_of_the_formula():
    expected = {0: 0.5 * math.exp(-4), 5: 0.5 * math.exp(-2), 10: 0.5, 11: 0.7, 12.5: 1, 13: 1}
    received = {epoch: rmsprop_to_sgd_fraction(epoch) for epoch in expected}
    assert received == pytest.approx(expected)


@pytest.mark.parametrize(("center", "period"), [(10, 5), (3, 0.5), (0, 4)])
def test_continuous_rising_and_with_one_slope_at_the_centre(center, period):
    def share(epoch):
        return rmsprop_to_sgd_fraction(epoch, center, period)

    end = center + period / 2
    values = [share(end * i / 1000) for i in range(1200)]
    assert values == sorted(values) and values[-1] == 1
    assert share(center) == 0.5 and share(end) == pytest.approx(1)
    assert share(end - 1e-7) == pytest.approx(1, abs=1e-6)
    step = 1e-6 * period
    assert (share(center + step) - share(center)) / step == pytest.approx(1 / period, rel=1e-4)
    if center:
        assert (share(center) - share(center - step)) / step == pytest.approx(1 / period, rel=1e-4)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((-1,), "epoch: expected a finite number of at least 0, received -1"),
        ((1, -1), "center_epochs: expected a finite number of at least 0, received -1"),
        ((1, 1, 0), "period_epochs: expected a finite number above 0, received 0"),
    ],
)
def test_message(arguments, message):
    with pytest.raises(UserError) as error:
        rmsprop_to_sgd_fraction(*arguments)
    assert str(error.value) == message
