"""Locks a workdir or a run's folder while it is in use, and binds a run's folder to its config."""

import contextlib
import fcntl
import json
import os
import time
from pathlib import Path

from lbkeras import files
from lbkeras.errors import UserError
from lbkeras.runs.train_section import TRAIN, claimed

_RENAMED = {"label_concentration": "dirichlet_alpha"}  # keys of `data`: 0.1.0's name -> ours
_TRIES = 5  # `is_held` in another process holds the lock for a moment


@contextlib.contextmanager
def locked(path: Path):
    """Creates the folder and locks it until the block ends or the process dies.

    Removes the half-written files that killed writers have left in it.

    Yields:
        A function that raises `UserError` if the folder is no longer the one that was locked.

    Raises:
        UserError: the folder cannot be written, its file system has no locks, or a live process has
            locked it.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
        lock = open(path / ".lock", "a+")
    except (OSError, ValueError) as error:  # ValueError: a null character
        raise UserError(
            f"workdir {path}: expected a folder that can be written, received: "
            f"{getattr(error, 'strerror', error)}"
        ) from None
    with lock:
        try:
            _lock(lock)
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
        with contextlib.suppress(OSError):  # a full disk: messages only need the process ID
            os.ftruncate(lock.fileno(), 0)
            os.write(lock.fileno(), str(os.getpid()).encode())
        for folder in (path, path / "checkpoints", path / "plots"):
            files.remove_left_over(folder)
        yield lambda: _check_held(path, lock)


def is_held(path: Path) -> bool:
    """Whether a live process holds the folder."""
    try:
        with open(path / ".lock") as lock:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:  # never held, or it cannot be determined
        return False
    return False


def _lock(lock) -> None:
    for left in reversed(range(_TRIES)):
        try:
            return fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if not left:
                raise
            time.sleep(0.02)


def _check_held(path: Path, lock) -> None:
    try:
        same = os.path.samestat(os.stat(path / ".lock"), os.fstat(lock.fileno()))
    except OSError:
        same = False
    if not same:
        raise UserError(
            f"workdir {path}: expected the folder that the run began in, received one that was "
            "removed or replaced meanwhile"
        )


def claim(path: Path, name: str, settings: dict, notes: dict) -> None:
    """Binds the folder to `settings` by writing its JSON file `name`, unless it is bound already.

    Args:
        path: the folder.
        name: the name of the file.
        settings: what must stay the same for as long as the folder is used.
        notes: written to the same file but not compared.

    Raises:
        UserError: as `check_claim`.
    """
    if not check_claim(path, name, settings):
        files.write_json(path / name, notes | settings)


def check_claim(path: Path, name: str, settings: dict) -> bool:
    """Whether the folder belongs to `settings`; False if it belongs to none yet.

    Raises:
        UserError: the folder belongs to other settings; the message names the first that differs.
    """
    file = path / name
    if not file.exists():
        return False
    present = files.read_json_object(file)
    if isinstance(present.get("data"), dict):
        present["data"] = {_RENAMED.get(k, k): v for k, v in present["data"].items()}
    if TRAIN in settings:
        present[TRAIN] = claimed(present)
    settings = json.loads(json.dumps(settings))
    difference = _first_difference({k: v for k, v in present.items() if k in settings}, settings)
    if difference is not None:
        key, old, new = difference
        raise UserError(
            f"workdir {path}: expected the config it was started with ({key}={old!r}), "
            f"received {key}={new!r}; use another workdir"
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
