"""Finds where the records of TFRecord files are, once, and keeps that in the user's cache.

A record consists of its length (8 bytes, little-endian), a checksum of the length, the data, and a
checksum of the data (4 bytes per checksum).
"""

import array
import concurrent.futures
import io
import os
import struct
import sys
import time
from pathlib import Path

import google_crc32c
import numpy as np

from lbkeras.errors import UserError
from lbkeras.files import write_atomically
from lbkeras.fingerprint import digest

HEADER, FOOTER = 12, 4  # bytes around the data of a record
_THREADS = 16  # they wait for the disk
# Bytes: reads take a block, or only a header if records are on average larger than _LARGE.
_BLOCK, _LARGE = 1 << 16, 1 << 14
_WORTH_KEEPING, _SILENT, _BETWEEN_LINES = 1.0, 2.0, 10.0  # seconds


def masked_crc(content: bytes) -> int:
    """Returns the checksum that TFRecord files store for `content`."""
    crc = google_crc32c.value(content)
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


def record_lengths(paths: list[str], what: str) -> list[np.ndarray]:
    """Returns the length in bytes of each record's data, an array of uint32 for each file.

    If this took longer than a second, the lengths are kept in `$XDG_CACHE_HOME/lbkeras` or
    `~/.cache/lbkeras` if a file can be written there. They are used as long as a file has the same
    path, size and modification time.

    Args:
        paths: of files in one folder.
        what: what is read, for messages.

    Raises:
        UserError: a file ends inside a record, or the length of a record is damaged.
    """
    cache = _cache_of(os.path.dirname(os.path.abspath(paths[0])))
    known = _load(cache)
    states = {path: _state(path) for path in map(os.path.abspath, paths)}
    new = [path for path, state in states.items() if path not in known or known[path][0] != state]
    if new:
        begin = time.monotonic()
        known |= {path: (states[path], found) for path, found in _found(new, what).items()}
        if time.monotonic() - begin > _WORTH_KEEPING:
            _save(cache, known, what)
    return [known[path][1] for path in map(os.path.abspath, paths)]


def _state(path: str) -> tuple[int, int]:
    status = os.stat(path)
    return status.st_size, status.st_mtime_ns


def _found(paths: list[str], what: str) -> dict[str, np.ndarray]:
    """Reads the files, several at once, and prints its progress if that takes long."""
    next_line = time.monotonic() + _SILENT
    found = {}
    with concurrent.futures.ThreadPoolExecutor(_THREADS) as pool:
        reading = {pool.submit(lengths_in, path, what): path for path in paths}
        left = set(reading)
        try:
            while left:
                wait = max(0.0, next_line - time.monotonic())
                done, left = concurrent.futures.wait(left, wait, "FIRST_COMPLETED")
                found |= {reading[each]: each.result() for each in done}
                if left and time.monotonic() >= next_line:
                    next_line += _BETWEEN_LINES
                    print(
                        f"{what}: finding the records of {len(paths):,} files, only once; "
                        f"{len(found) / len(paths):.0%} done",
                        file=sys.stderr,
                        flush=True,
                    )
        finally:
            pool.shutdown(cancel_futures=True)
    return found


def lengths_in(path: str, what: str) -> np.ndarray:
    """Returns the lengths of the records in one file, from their headers."""
    lengths = array.array("I")
    try:
        with open(path, "rb", buffering=0) as file:
            problem = _append_lengths(lengths, file.fileno())
    except OSError as error:
        problem = error.strerror or str(error)
    if problem:
        raise UserError(f"{what}: expected records in {path!r}, received {problem}")
    return np.frombuffer(lengths, np.uint32) if lengths else np.zeros(0, np.uint32)


def _append_lengths(lengths: array.array, descriptor: int) -> str | None:
    """Appends a file's record lengths; stops at the first damaged record and describes it."""
    size = os.fstat(descriptor).st_size
    block, begin, place = b"", 0, 0  # last block read, its place, the next header's place
    while place < size:
        header = block[place - begin : place - begin + HEADER]
        if len(header) < HEADER:
            large = place > _LARGE * len(lengths) > 0
            block, begin = os.pread(descriptor, HEADER if large else _BLOCK, place), place
            header = block[:HEADER]
        if len(header) < HEADER:
            return f"truncated record {len(lengths):,}"
        length, crc = struct.unpack("<QI", header)
        if masked_crc(header[:8]) != crc:
            return f"corrupted record {len(lengths):,}"
        place += HEADER + length + FOOTER
        if place > size or length >= 1 << 32:
            return f"truncated record {len(lengths):,}"
        lengths.append(length)
    return None


def _cache_of(folder: str) -> Path:
    """Returns the cache file for a folder's files."""
    home = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    return Path(home, "lbkeras", f"records-{digest(os.fsencode(folder))}.npz")


def _load(cache: Path) -> dict[str, tuple[tuple[int, int], np.ndarray]]:
    """Returns the cache: path -> (state when read, lengths). {} without a readable cache."""
    try:
        with np.load(cache, allow_pickle=False) as file:
            paths, states, counts = (file[name] for name in ("paths", "states", "counts"))
            lengths = np.split(file["lengths"], np.cumsum(counts)[:-1])
        known = zip(paths.tolist(), map(tuple, states.tolist()), lengths, strict=True)
        return {path: (state, found) for path, state, found in known}
    except Exception:  # damaged, not ours or missing: the lengths are found again
        return {}


def _save(cache: Path, known: dict, what: str) -> None:
    states, lengths = zip(*known.values(), strict=True)
    buffer = io.BytesIO()
    np.savez(
        buffer,
        paths=np.array(list(known)),
        states=np.array(states, np.int64),
        counts=np.array([len(each) for each in lengths], np.int64),
        lengths=np.concatenate(lengths),
    )
    try:
        cache.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(cache, buffer.getvalue())
    except OSError as error:  # do without a cache
        print(
            f"{what}: the index of records cannot be kept, so the next run makes it again: "
            f"{error.strerror} ({str(cache)!r})",
            file=sys.stderr,
            flush=True,
        )
