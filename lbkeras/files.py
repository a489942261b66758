"""Writing files so that a reader, or a killed run, never sees half of one, and knows their form."""

import json
import os
import re
from pathlib import Path
from typing import Any

from lbkeras.errors import UserError


def is_file_name(name) -> bool:
    """Whether an arm's or a metric's name can be a file's: not hidden, leading nowhere else."""
    return isinstance(name, str) and bool(re.fullmatch(r"\w[\w.+=@, -]*", name))


def write_atomically(path: Path, content: bytes) -> None:
    """Writes `content` to `path` through a file beside it: a reader sees the old or the new one."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with open(temporary, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def write_json(path: Path, value: Any) -> None:
    """Writes `value` as indented JSON, atomically."""
    write_atomically(path, (json.dumps(value, indent=2) + "\n").encode())


def check_format(path: Path | str, content: dict[str, Any], newest: int) -> int:
    """The number of the form in which `content`, read from `path`, was written.

    Each kind of file that outlives the lbkeras that wrote it has a `format`, counted up whenever a
    reader must know the difference. A file without one has form 0: lbkeras 0.1.0 wrote it.

    Args:
        path: the file, for the message.
        content: its JSON object.
        newest: the form that this lbkeras writes.

    Raises:
        UserError: the number is newer than that, or none of ours.
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
