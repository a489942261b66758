"""Reads and writes files: atomic writes, strict JSON, and numbered file formats."""

import contextlib
import json
import os
import re
import sys
from pathlib import Path
from typing import Any

from lbkeras.errors import UserError

_WORDS = {str: "text", float: "a number", dict: "an object", list: "a list"}
_LONGEST_NAME = 200  # bytes; file systems allow 255, and `.PID.tmp` or `.png` may be added


def is_file_name(name) -> bool:
    """Whether the name of an arm or metric is a valid file name: not hidden, without a path."""
    return (
        isinstance(name, str)
        and bool(re.fullmatch(r"\w[\w.+=@, -]*", name))
        and len(name.encode()) <= _LONGEST_NAME
    )


def write_atomically(path: Path, content: bytes) -> None:
    """Writes `content` to `path` through a temporary file: readers see the old or the new content.

    Raises:
        OSError: the file cannot be written; the error names `path`.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    with named(path):
        try:
            with open(temporary, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def named(path: Path):
    """Adds `path` to every OSError in this block: the error of a full disk names no file."""
    try:
        yield
    except OSError as error:
        if error.errno is None:
            raise
        raise OSError(error.errno, error.strerror, str(path)) from error


def remove_left_over(folder: Path) -> None:
    """Removes the temporary files of killed writers; those of live processes stay."""
    for path in folder.glob(".*.tmp"):
        writer = re.search(r"\.(\d+)\.tmp$", path.name)
        if writer and not _is_another_live_process(int(writer[1])):
            path.unlink(missing_ok=True)


def _is_another_live_process(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        return True
    return pid != os.getpid()  # in a new container a dead process may have had our PID


def in_words(error: OSError) -> str:
    """Returns an OSError about a file or folder as one line that begins with the path."""
    place = error.filename2 or error.filename
    if place is None:
        return str(error)
    return f"{place}: expected a place that can be read and written, received: {error.strerror}"


def write_json(path: Path, value: Any) -> None:
    """Writes `value` as indented JSON, atomically."""
    write_atomically(path, (json.dumps(value, indent=2) + "\n").encode())


def read_json_object(path: Path, missing: dict[str, Any] | None = None) -> dict[str, Any]:
    """Reads a file that holds one JSON object; returns `missing` if the file does not exist.

    Raises:
        UserError: the file does not exist and `missing` is None, or it cannot be read or is
            malformed; the message names file and line.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        if missing is not None:
            return missing
        raise UserError(f"{path}: expected a file, found none") from None
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: expected UTF-8 text, received {error.reason}") from None
    except OSError as error:
        raise UserError(in_words(error)) from None
    return parse_json_object(text, str(path))


def parse_json_object(text: str, where: str, one_line: bool = False) -> dict[str, Any]:
    """Returns the JSON object in `text`; numbers that are not finite become None.

    Args:
        text: the JSON.
        where: the file, for the message, with the line number if `one_line`.
        one_line: whether `text` is one of several lines of a file.

    Raises:
        UserError: the text is malformed or not an object.
    """
    try:
        value = json.loads(text, parse_constant=lambda _: None)
    except json.JSONDecodeError as error:
        where = where if one_line else f"{where}, line {error.lineno}"
        raise UserError(
            f"{where}: expected a JSON object, received malformed or truncated JSON "
            f"({error.msg}, column {error.colno})"
        ) from None
    except RecursionError:
        raise UserError(
            f"{where}: expected a JSON object, received one nested too deeply"
        ) from None
    except ValueError:  # Python refuses numbers of more than 4,300 digits
        raise UserError(f"{where}: expected a JSON object, received too long a number") from None
    if not isinstance(value, dict):
        raise UserError(f"{where}: expected a JSON object, received {type(value).__name__}")
    return value


def check_types(where: Path | str, content: dict[str, Any], types: dict[str, type] | type) -> None:
    """Checks the types of a JSON object's values; null matches any type, float any number.

    Args:
        where: the file, for the message.
        content: the object.
        types: the type of each key to check, or one type for all values.

    Raises:
        UserError: a value has another type, or a number exceeds the range of a float.
    """
    for key, value in content.items():
        kind = types.get(key) if isinstance(types, dict) else types
        if kind is None or value is None:
            continue
        if kind is float:
            right = isinstance(value, int | float) and not isinstance(value, bool)
            right = right and abs(value) <= sys.float_info.max
        else:
            right = isinstance(value, kind)
        if not right:
            received = repr(value) if len(repr(value)) < 100 else f"{repr(value)[:100]}..."
            raise UserError(f"{where}: expected {_WORDS[kind]} in {key!r}, received {received}")


def check_format(path: Path | str, content: dict[str, Any], newest: int) -> int:
    """Returns the number of the format in which `content`, read from `path`, was written.

    Every kind of file that a later lbkeras may read has a `format`. The number increases whenever
    readers must distinguish old from new files. A file without `format` has format 0: lbkeras 0.1.0
    wrote it.

    Args:
        path: the file, for the message.
        content: its JSON object.
        newest: the format that this lbkeras writes.

    Raises:
        UserError: the number is larger than `newest`, or is not a format number.
    """
    received = content.get("format", 0)
    if isinstance(received, bool) or not isinstance(received, int) or received < 0:
        raise UserError(f"{path}: expected a format from 0 to {newest}, received {received!r}")
    if received > newest:
        raise UserError(
            f"{path}: expected a format from 0 to {newest}, which this lbkeras reads, received "
            f"{received}; a newer lbkeras wrote it"
        )
    return received
