"""Reads a user's object that has a length and returns examples by their numbers."""

import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from lbkeras.errors import UserError, one_line


class GivenItems:
    """The user's object; turns what it raises into a UserError that names the place.

    Attributes:
        num_examples: its length, at least 1.
        one_thread: a lock to hold while reading, since the object may keep a file open.

    Raises:
        UserError: the object has no length, or one below 1.
    """

    def __init__(self, source: Any):
        self._source, self.one_thread = source, threading.Lock()
        try:
            self.num_examples = len(source)
        except Exception as error:
            raise UserError(f"source: expected a length, received {said(error)}") from error
        if self.num_examples < 1:
            raise UserError(
                f"source: expected at least one example, received a length of {self.num_examples}"
            )

    def read(self, places: Sequence[int]) -> Iterator[tuple[int, Any]]:
        """Yields each place with its item, whose memory the object may reuse for the next one."""
        several = getattr(self._source, "__getitems__", None)
        if several is None:
            for place in places:
                yield place, _called(self._source.__getitem__, place, place)
            return
        items = _called(lambda numbers: list(several(numbers)), list(places), places[0])
        if len(items) != len(places):
            raise UserError(
                f"source: expected {len(places)} examples from __getitems__, received {len(items)}"
            )
        yield from zip(places, items, strict=True)


def said(error: Exception) -> str:
    """Returns an error in one line, with its class."""
    return f"{type(error).__name__}: {one_line(str(error))}"


def _called(function: Callable, argument, place: int):
    """Calls the user's object; an error names the place that it is about."""
    try:
        return function(argument)
    except UserError:
        raise
    except Exception as error:
        if isinstance(argument, list) and len(argument) > 1:
            for each in argument:  # finds the place that fails
                _called(function, [each], each)
        raise UserError(
            f"source: expected an example at place {place:,}, received {said(error)}"
        ) from error
