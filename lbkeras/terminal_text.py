"""Plain text that fits the terminal: aligned tables and wrapped sentences."""

import shutil
import sys
import textwrap
from collections.abc import Sequence

_GAP, _INDENT = "  ", "  "


def terminal_width() -> int | None:
    """Returns the terminal's width in characters; None in a file or pipe, which has no width."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None


def table(rows: Sequence[Sequence[str]], width: int | None = None) -> str:
    """Returns rows of text as a table: the first column left-aligned, the others right-aligned.

    A table that is wider than `width` is divided. If some rows have an empty first cell, since
    they belong to the row above, each first cell gets a line of its own; such a table is not
    divided further. Otherwise, columns that do not fit follow in further tables with the same
    first column; a column with an empty header stays with the one before it.

    Args:
        rows: the header, then the rows, all of the same length.
        width: the width to fit, in characters; None: any.

    >>> print(table([["arm", "n", "accuracy"], ["small", "3", "98.1"]]))
    arm    n  accuracy
    small  3      98.1
    >>> print(table([["arm", "n", "accuracy"], ["small", "3", "98.1"]], width=15))
    arm    n
    small  3
    <BLANKLINE>
    arm    accuracy
    small      98.1
    """
    widths = _widths(rows)
    if width is None or _total(widths) <= width:
        return _aligned(rows)
    if any(not row[0] for row in rows):
        return _with_names_above(rows)
    parts: list[list[int]] = []  # the columns of each table, without the first
    for group in _groups(rows[0]):
        together = [*parts[-1], *group] if parts else group
        if parts and _total([widths[0], *(widths[each] for each in together)]) <= width:
            parts[-1] = together
        else:
            parts.append(group)
    return "\n\n".join(
        _aligned([[row[0], *(row[each] for each in part)] for row in rows]) for part in parts
    )


def wrapped(line: str, width: int | None = None, indent: str | None = None) -> str:
    """Breaks a line at spaces into lines of at most `width` characters.

    A longer word, such as a path, stays whole on a line of its own.

    Args:
        line: a sentence.
        width: the width to fit, in characters; None: the line stays one line.
        indent: what each further line starts with; None: the spaces that `line` starts with.
    """
    if width is None:
        return line
    own = line[: len(line) - len(line.lstrip(" "))]
    return textwrap.fill(
        line,
        width,
        subsequent_indent=own if indent is None else indent,
        break_long_words=False,
        break_on_hyphens=False,
    )


def _groups(header: Sequence[str]) -> list[list[int]]:
    """Returns the columns after the first in groups that stay together."""
    groups: list[list[int]] = []
    for index, name in enumerate(header[1:], start=1):
        if name or not groups:
            groups.append([index])
        else:
            groups[-1].append(index)
    return groups


def _widths(rows) -> list[int]:
    return [max(map(len, column)) for column in zip(*rows, strict=True)]


def _total(widths: Sequence[int]) -> int:
    return sum(widths) + len(_GAP) * (len(widths) - 1)


def _with_names_above(rows) -> str:
    lines = []
    numbers = _aligned([["", *row[1:]] for row in rows]).splitlines()
    for index, (row, line) in enumerate(zip(rows, numbers, strict=True)):
        lines += [row[0]] if row[0] and index else []  # the header names the numbers only
        lines.append(f"{_INDENT}{line.removeprefix(_GAP)}")
    return "\n".join(lines)


def _aligned(rows) -> str:
    widths = _widths(rows)
    lines = []
    for row in rows:
        cells = [row[0].ljust(widths[0])]
        cells += [cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True)]
        lines.append(_GAP.join(cells).rstrip())
    return "\n".join(lines)
