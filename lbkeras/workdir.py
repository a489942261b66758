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
        except OSError as error:
            raise UserError(
                f"workdir {path}: expected a file system with locks, received: {error.strerror}"
            ) from None
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
        yield


def claim(path: Path, name: str, settings: dict, notes: dict) -> None:
    """Makes the folder that of `settings`, unless it already is: writes its JSON file `name`.

    Args:
        path: the folder.
        name: of the file.
        settings: what must stay the same for as long as the folder is used.
        notes: written beside them and not compared.

    Raises:
        UserError: as `check_claim`.
    """
    if not check_claim(path, name, settings):
        files.write_json(path / name, notes | settings)


def check_claim(path: Path, name: str, settings: dict) -> bool:
    """Whether the folder is that of `settings`; False if it is nobody's yet.

    Raises:
        UserError: the folder is that of other settings; the message names the first that differs.
    """
    file = path / name
    try:
        present = json.loads(file.read_text())
    except (FileNotFoundError, NotADirectoryError):
        return False
    except (json.JSONDecodeError, UnicodeDecodeError):
        raise UserError(f"{file}: expected JSON, received a malformed file") from None
    if not isinstance(present, dict):
        raise UserError(f"{file}: expected a JSON object, received {type(present).__name__}")
    settings = json.loads(json.dumps(settings))
    difference = _first_difference({k: v for k, v in present.items() if k in settings}, settings)
    if difference is not None:
        key, old, new = difference
        raise UserError(
            f"workdir {path}: expected the config it was started with ({key}={old!r}), "
            f"received {key}={new!r}; use another --workdir"
        )
    return True


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
