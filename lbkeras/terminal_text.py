"""Plain text that fits the terminal: aligned tables and wrapped sentences."""

import shutil
import sys
import textwrap
from collections.abc import Sequence

_GAP, _INDENT = "  ", "  "


def terminal_columns() -> int | None:
    """Returns the terminal's width in characters; None in a file or pipe, which has no width."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None


def table(rows: Sequence[Sequence[str]], columns: int | None = None) -> str:
    """Returns rows of text as a table: the first column to the left, the others to the right.

    A table that is wider than `columns` is divided. If some rows have an empty first cell, since
    they belong to the row above, each first cell gets a line of its own. Otherwise, columns that
    do not fit follow in a second table with the same first column; a column with an empty header
    stays with the one before it.

    Args:
        rows: the header, then the rows, all of the same length.
        columns: the width to fit; None: any.

    >>> print(table([["arm", "n", "accuracy"], ["small", "3", "98.1"]]))
    arm    n  accuracy
    small  3      98.1
    >>> print(table([["arm", "n", "accuracy"], ["small", "3", "98.1"]], columns=15))
    arm    n
    small  3
    <BLANKLINE>
    arm    accuracy
    small      98.1
    """
    widths = _widths(rows)
    if columns is None or _width(widths) <= columns:
        return _aligned(rows)
    if any(not row[0] for row in rows):
        return _with_names_above(rows)
    parts: list[list[int]] = []  # the columns of each table, without the first
    for group in _groups(rows[0]):
        together = [*parts[-1], *group] if parts else group
        if parts and _width([widths[0], *(widths[each] for each in together)]) <= columns:
            parts[-1] = together
        else:
            parts.append(group)
    return "\n\n".join(
        _aligned([[row[0], *(row[each] for each in part)] for row in rows]) for part in parts
    )


def wrapped(line: str, columns: int | None = None, indent: str | None = None) -> str:
    """Returns a line in lines of at most `columns` characters; paths and commands stay whole.

    Args:
        line: a sentence.
        columns: the width to fit; None: the line stays one line.
        indent: what each further line starts with; None: the spaces that `line` starts with.
    """
    if columns is None:
        return line
    own = line[: len(line) - len(line.lstrip(" "))]
    return textwrap.fill(
        line,
        columns,
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


def _width(widths: Sequence[int]) -> int:
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
