"""A user's object that has a length and gives examples by their numbers."""

import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from lbkeras.errors import UserError, one_line


class GivenItems:
    """The object, and what it raises as a user's error that names the place.

    Attributes:
        num_examples: its length, at least 1.
        one_thread: a lock to hold while reading: the object may have a file of its own open.

    Raises:
        UserError: no length, or one below 1.
    """

    def __init__(self, source: Any):
        self._source, self.one_thread = source, threading.Lock()
        try:
            self.num_examples = len(source)
        except Exception as error:
            raise UserError(f"source: expected a length, received {said(error)}") from error
        if self.num_examples < 1:
            raise UserError(
                f"source: expected at least one example, received one of length {self.num_examples}"
            )

    def read(self, places: Sequence[int]) -> Iterator[tuple[int, Any]]:
        """Each place with the item that is there; it may be another one when the next is read."""
        several = getattr(self._source, "__getitems__", None)
        if several is None:
            for place in places:
                yield place, _called(self._source.__getitem__, place, place)
            return
        items = _called(lambda numbers: list(several(numbers)), list(places), places[0])
        if len(items) != len(places):
            raise UserError(
                f"source: expected {len(places)} examples of __getitems__, received {len(items)}"
            )
        yield from zip(places, items, strict=True)


def said(error: Exception) -> str:
    """An error in one line, with its class."""
    return f"{type(error).__name__}: {one_line(str(error))}"


def _called(function: Callable, argument, place: int):
    """What the user's object returns; what it raises names a place."""
    try:
        return function(argument)
    except UserError:
        raise
    except Exception as error:
        if isinstance(argument, list) and len(argument) > 1:
            for each in argument:  # finds the one
                _called(function, [each], each)
        raise UserError(
            f"source: expected an example at place {place:,}, received {said(error)}"
        ) from error
