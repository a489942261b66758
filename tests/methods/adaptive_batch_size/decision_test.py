import math

import pytest

from lbkeras.errors import UserError
from lbkeras.methods.adaptive_batch_size.decision import (
    batch_size_ladder,
    loss_regressed,
    next_batch_size,
)

LADDER = (16, 32, 64, 128)


@pytest.mark.parametrize(
    "arguments, sizes",
    [
        ((32, 32, 143), (32, 64, 128)),
        ((32, 1, 32), (1, 2, 4, 8, 16, 32)),
        ((36, 1, 100), (9, 18, 36, 72)),
        ((10, 10, 10), (10,)),
        ((32, 8, 600, 4), (8, 32, 128, 512)),
    ],
)
def test_ladder(arguments, sizes):
    assert batch_size_ladder(*arguments) == sizes


@pytest.mark.parametrize(
    "arguments, message",
    [
        ((32, 64, 16), "max_batch_size: expected at least min_batch_size=64, received 16"),
        (
            (32, 1, 16),
            "batch_size: expected 1 to 16 (min_batch_size to max_batch_size), received 32",
        ),
        ((32, 0, 16), "min_batch_size: expected a whole number of at least 1, received 0"),
        ((32, 1, 64, 1), "factor: expected a whole number of at least 2, received 1"),
    ],
)
def test_ladder_messages(arguments, message):
    with pytest.raises(UserError) as raised:
        batch_size_ladder(*arguments)
    assert str(raised.value) == message


@pytest.mark.parametrize(
    "size, lower, upper, expected",
    [
        (32, 64.0, 90.0, 64),  # reached
        (32, 63.9, 1e9, 32),  # possibly
        (32, 5000.0, math.inf, 64),  # one rung at a time
        (128, 5000.0, math.inf, 128),
        (64, 3.0, 31.9, 32),
        (64, 3.0, 32.0, 64),
        (16, 1.0, 2.0, 16),
        (32, math.nan, math.nan, 32),
    ],
)
def test_next_size(size, lower, upper, expected):
    received, reason = next_batch_size(size, LADDER, lower, upper)
    assert received == expected
    assert reason


def test_a_target_that_varies_moves_nothing():
    size, sizes = 32, set()
    for step in range(100):
        target = 80 * 1.5 ** math.sin(step)  # 53 to 120
        size, _ = next_batch_size(size, LADDER, target, target)
        sizes.add(size)
    assert sizes == {64} or sizes == {32, 64} and size == 64


@pytest.mark.parametrize(
    "losses, sizes, expected",
    [
        ([0.5, 0.4, 0.6], [8, 16, 16], True),
        ([0.5, 0.4, 0.6], [8, 8, 16], True),
        ([0.5, 0.4, 0.47], [8, 8, 16], False),  # a little
        ([0.5, 0.4, 0.4, 0.6], [8, 16, 16, 16], False),  # long after
        ([0.5, 0.4, 0.6], [32, 16, 16], False),  # a smaller batch
        ([0.5, 0.4, 0.9, 0.8], [8, 16, 32, 16], False),  # already gone back
        ([0.5], [8], False),
    ],
)
def test_a_loss_that_rises_after_growth(losses, sizes, expected):
    assert loss_regressed(losses, sizes) == expected
