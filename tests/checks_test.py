import numpy as np
import pytest

from lbkeras import checks
from lbkeras.errors import UserError


def test_numpy_numbers_are_numbers():
    assert checks.integer("x", np.int64(3)) == 3
    assert checks.positive("x", np.float32(0.5)) == 0.5
    assert checks.sequence("x", np.array([1, 2])) == (1, 2)


def test_whole_numbers_beyond_the_range_of_a_float():
    with pytest.raises(UserError, match="^n: expected a whole number of at most 9,007,.* received"):
        checks.integer("n", 2**53 + 1)
    assert checks.integer("seed", 2**64, minimum=0, any_size=True) == 2**64
    assert [checks.as_integer(each) for each in (np.int64(3), 2**64, 1.0, True, "1")] == [
        *(3, 2**64, None, None, None)
    ]


@pytest.mark.parametrize(
    ("check", "message"),
    [
        (lambda: checks.integer("n", 1.0), "n: expected a whole number, received 1.0"),
        (lambda: checks.integer("n", True), "n: expected a whole number, received True"),
        (
            lambda: checks.integer("n", 0, minimum=1, maximum=1000),
            "n: expected a whole number of at least 1 and at most 1,000, received 0",
        ),
        (
            lambda: checks.integer("n", 1, maximum=0),
            "n: expected a whole number of at most 0, received 1",
        ),
        (
            lambda: checks.positive("x", "0.1"),
            "x: expected a finite number above 0, received '0.1'",
        ),
        (
            lambda: checks.positive("x", float("inf")),
            "x: expected a finite number above 0, received inf",
        ),
        (
            lambda: checks.not_negative("x", -1),
            "x: expected a finite number of at least 0, received -1",
        ),
        (lambda: checks.momentum("m", 1.0), "m: expected a number in [0, 1), received 1.0"),
        (lambda: checks.sequence("s", "ab"), "s: expected a list or tuple, received 'ab'"),
        (lambda: checks.sequence("s", 3), "s: expected a list or tuple, received 3"),
        (
            lambda: checks.choice("c", "kep", ("drop", "keep")),
            "c: expected one of 'drop', 'keep', received 'kep' (did you mean 'keep'?)",
        ),
        (lambda: checks.choice("c", 7, ("drop",)), "c: expected one of 'drop', received 7"),
        (
            lambda: checks.batch_size("b", 11, 10),
            "b: expected at most num_examples=10, received 11",
        ),
    ],
)
def test_message(check, message):
    with pytest.raises(UserError) as error:
        check()
    assert str(error.value) == message
