"""The error for what a user can fix: the command line prints it as one line, without traceback."""

import difflib
from collections.abc import Iterable, Sequence


class UserError(ValueError):
    """A setting, file or data set is not usable.

    The message is one line that says what is wrong, what was expected and what was received.

    >>> error = UserError("epochs: expected at least 1, received 0")
    >>> error.key, error.said
    ('epochs', 'expected at least 1, received 0')
    >>> str(error.of("plan"))
    'plan.epochs: expected at least 1, received 0'

    Args:
        message: the line, "KEY: expected ..., received ...".

    Attributes:
        key: the setting, argument or file that is wrong.
        said: the rest of the message: what was expected and what was received.
    """

    def __init__(self, message: str):
        super().__init__(message)
        key, colon, said = message.partition(": ")
        self.key, self.said = (key, said) if colon else ("", message)

    def _render_traceback_(self) -> list[str]:
        """Returns what a notebook shows instead of a traceback."""
        return [f"lbkeras.errors.UserError: {self}"]

    def of(self, section: str) -> "UserError":
        """Returns the same error with its key placed in `section`."""
        return UserError(f"{section}.{self}")


def unknown_name(key: str, received: object, valid: Iterable[object]) -> str:
    """Returns the message about an unknown name; it lists the valid ones, suggests the nearest."""
    names = [str(name) for name in valid]
    hint = suggestion(received, names)
    if not names:
        return f"{key}: expected none, received {received!r}"
    return f"{key}: expected one of {', '.join(names)}, received {received!r}{hint}"


def suggestion(received: object, valid: Sequence[str]) -> str:
    """Returns " (did you mean 'NAME'?)" with the nearest valid name, or "" if none is near."""
    nearest = difflib.get_close_matches(str(received), valid, n=1)
    return f" (did you mean {nearest[0]!r}?)" if nearest else ""


def one_line(text: str) -> str:
    """Returns a text as one printable line; control characters for a terminal are escaped.

    >>> one_line("two\\nlines, \\x1b[31mred")
    'two lines, \\\\x1b[31mred'
    """
    shown = (
        each if each.isprintable() or each.isspace() else each.encode("unicode_escape").decode()
        for each in text
    )
    return " ".join("".join(shown).split())
