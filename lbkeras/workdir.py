"""A run's folder while it is in use: who may write in it, and which config it belongs to."""

import contextlib
import fcntl
import json
import os
from pathlib import Path

from lbkeras import files
from lbkeras.errors import UserError


@contextlib.contextmanager
def locked(path: Path):
    """Makes the folder and holds it for this process; a process that dies lets go of it.

    Raises:
        UserError: the folder cannot be written, or a live process holds it.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
        lock = open(path / ".lock", "a+")
    except OSError as error:
        raise UserError(
            f"workdir {path}: expected a folder that can be written, received: {error.strerror}"
        ) from None
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.seek(0)
            holder = lock.read().strip() or "unknown"
            raise UserError(
                f"workdir {path}: expected one that no run uses, received one in use by the live "
                f"process {holder}"
            ) from None
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
        yield


def claim(path: Path, name: str, settings: dict) -> None:
    """Writes `settings` as the folder's JSON file `name`, or checks that the same stand there.

    Raises:
        UserError: the folder holds other settings; the message names the first that differs.
    """
    settings = json.loads(json.dumps(settings))
    file = path / name
    if not file.exists():
        files.write_json(file, settings)
        return
    try:
        present = json.loads(file.read_text())
    except (json.JSONDecodeError, UnicodeDecodeError):
        raise UserError(f"{file}: expected JSON, received a malformed file") from None
    difference = _first_difference(present, settings)
    if difference is not None:
        key, old, new = difference
        raise UserError(
            f"workdir {path}: expected the config it was started with ({key}={old!r}), "
            f"received {key}={new!r}; use another --workdir"
        )


def _first_difference(old, new, key=""):
    if isinstance(old, dict) and isinstance(new, dict):
        for name in [*old, *(n for n in new if n not in old)]:
            found = _first_difference(
                old.get(name), new.get(name), f"{key}.{name}" if key else name
            )
            if found:
                return found
        return None
    return None if old == new else (key, old, new)
