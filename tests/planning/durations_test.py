import pytest

from lbkeras.planning import durations


@pytest.mark.parametrize(
    "seconds, text",
    [(0.0123, "12 ms"), (1.4, "1 s"), (99.4, "99 s"), (120, "2 min"), (9000, "2.5 h")],
)
def test_durations(seconds, text):
    assert durations.in_words(seconds) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.04, "0.0 s"), (99.94, "99.9 s"), (100, "1.7 min"), (5999, "100.0 min"), (6000, "1.7 h")],
)
def test_with_a_digit(seconds, text):
    assert durations.in_words(seconds, digits=1) == text
