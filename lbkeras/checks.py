"""Argument checks shared by schedules and plans.

Each returns the value in the right type, or raises a one-line UserError that says which argument is
wrong, what was expected and what was received.
"""

import math
import operator
import os
from collections.abc import Sequence
from pathlib import Path

from lbkeras.errors import UserError, suggestion

_MOST = 2**53


def integer(
    name: str,
    value,
    *,
    minimum: int | None = None,
    maximum: int | None = None,
    any_size: bool = False,
) -> int:
    """Returns `value` as an int in [minimum, maximum].

    Without a maximum the limit is 2^53, up to which a float holds every integer, unless `any_size`.
    """
    result = as_integer(value)
    if maximum is None and not any_size and result is not None and result > _MOST:
        maximum = _MOST
    expected = "a whole number"
    if minimum is not None:
        expected += f" of at least {minimum:,}"
    if maximum is not None:
        expected += f"{' and' if minimum is not None else ' of'} at most {maximum:,}"
    if (
        result is None
        or (minimum is not None and result < minimum)
        or (maximum is not None and result > maximum)
    ):
        raise UserError(f"{name}: expected {expected}, received {value!r}")
    return result


def as_integer(value) -> int | None:
    """Returns `value` as an int, or None if it is not a whole number; True and False are not."""
    try:
        return None if isinstance(value, bool) else operator.index(value)
    except TypeError:
        return None


def number(name: str, value, *, expected: str, valid=lambda result: True) -> float:
    """Returns `value` as a finite float that passes `valid`; `expected` says in words what does."""
    try:
        result = float(value)
    except (TypeError, ValueError, OverflowError):
        result = math.nan
    if isinstance(value, str | bytes | bool) or not math.isfinite(result) or not valid(result):
        raise UserError(f"{name}: expected {expected}, received {value!r}")
    return result


def positive(name: str, value) -> float:
    return number(name, value, expected="a finite number above 0", valid=lambda x: x > 0)


def not_negative(name: str, value) -> float:
    return number(name, value, expected="a finite number of at least 0", valid=lambda x: x >= 0)


def momentum(name: str, value) -> float:
    return number(name, value, expected="a number in [0, 1)", valid=lambda x: 0 <= x < 1)


def learning_rate(name: str, value):
    """Returns a schedule or other callable unchanged, a number of at least 0 as a float."""
    return value if callable(value) else not_negative(name, value)


def batch_size(name: str, value, num_examples: int) -> int:
    size = integer(name, value, minimum=1)
    if size > num_examples:
        raise UserError(f"{name}: expected at most num_examples={num_examples}, received {size}")
    return size


def sequence(name: str, value) -> tuple:
    """Returns `value`, any iterable except text, bytes or a dict, as a tuple."""
    if isinstance(value, str | bytes | dict) or not hasattr(value, "__iter__"):
        raise UserError(f"{name}: expected a list or tuple, received {value!r}")
    return tuple(value)


def choice(name: str, value, choices: Sequence[str]) -> str:
    """Returns `value` if it is one of `choices`; the error lists them and suggests the nearest."""
    if value in choices:
        return value
    raise UserError(
        f"{name}: expected one of {', '.join(map(repr, choices))}, received {value!r}"
        + suggestion(value, choices)
    )


def flag(name: str, value) -> bool:
    """Returns `value` if it is a bool; anything else, such as "False", has a truth value too."""
    if not isinstance(value, bool):
        raise UserError(f"{name}: expected True or False, received {value!r}")
    return value


def path(name: str, value) -> Path:
    if not isinstance(value, str | os.PathLike):
        raise UserError(f"{name}: expected a path, received {value!r}")
    return Path(value)


def text(name: str, value) -> str:
    if not isinstance(value, str):
        raise UserError(f"{name}: expected text, received {value!r}")
    return value
