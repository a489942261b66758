"""Reads records by their numbers: TFRecord files through an index, and ArrayRecord files."""

import functools
import os
import resource
from collections.abc import Callable

import numpy as np

from lbkeras.data.tfrecord_index import FOOTER, HEADER, masked_crc, record_lengths
from lbkeras.errors import UserError, one_line

_MOST_FILES = 1 << 13


class TfRecordFiles:
    """Reads records of TFRecord files by their numbers.

    Args:
        paths: of files in one folder.
        what: what is read, for messages.

    Attributes:
        counts: records in each file.

    Raises:
        UserError: a file ends inside a record, or the length of a record is damaged.
    """

    def __init__(self, paths: list[str], what: str):
        self._paths, self._what = paths, what
        self._lengths = record_lengths(paths, what)
        self._ends = [np.cumsum(each.astype(np.int64) + HEADER + FOOTER) for each in self._lengths]
        self._open = _kept_open(_Descriptor)
        self.counts = [len(each) for each in self._lengths]

    @property
    def bytes_each(self) -> float:
        """Mean size of a record."""
        return sum(int(each.sum()) for each in self._lengths) / max(1, sum(self.counts))

    def read(self, file: int, numbers: np.ndarray) -> list[bytes]:
        """Returns the data of some records of a file.

        Args:
            file: the file's index in `paths`.
            numbers: of the records, ascending; consecutive records are read at once.

        Raises:
            UserError: a record is damaged, or its file cannot be read.
        """
        path = self._paths[file]
        ends, lengths = self._ends[file][numbers], self._lengths[file][numbers].astype(np.int64)
        begins = ends - lengths - HEADER - FOOTER
        breaks = np.flatnonzero(begins[1:] != ends[:-1]) + 1
        records = []
        try:
            opened = self._open(path)
            for first, last in zip([0, *breaks], [*breaks, len(numbers)], strict=True):
                begin = begins[first]
                block = opened.read(int(begin), int(ends[last - 1] - begin))
                offsets = (begins[first:last] - begin + HEADER).tolist()
                for offset, length in zip(offsets, lengths[first:last].tolist(), strict=True):
                    data = block[offset : offset + length]
                    stored = block[offset + length : offset + length + FOOTER]
                    if len(stored) < FOOTER or masked_crc(data) != int.from_bytes(stored, "little"):
                        problem = "truncated" if len(stored) < FOOTER else "corrupted"
                        number = int(numbers[len(records)])
                        raise self._refused(path, f"{problem} record {number:,}")
                    records.append(data)
        except OSError as error:
            raise self._refused(path, error.strerror or str(error)) from error
        return records

    def _refused(self, path: str, received: str) -> UserError:
        return UserError(f"{self._what}: expected records in {path!r}, received {received}")


class ArrayRecordFiles:
    """Reads records of ArrayRecord files by their numbers, like `TfRecordFiles`.

    Raises:
        UserError: a file cannot be read.
    """

    def __init__(self, paths: list[str], counts: list[int], what: str):
        self._paths, self._what = paths, what
        self._open = _kept_open(_array_record_reader)
        self.counts = counts

    @property
    def bytes_each(self) -> float:
        """Mean size of a record."""
        return sum(map(os.path.getsize, self._paths)) / max(1, sum(self.counts))

    def read(self, file: int, numbers: np.ndarray) -> list[bytes]:
        """Returns the data of some records of a file."""
        path = self._paths[file]
        try:
            return self._open(path).read(numbers.tolist())
        except Exception as error:
            raise UserError(
                f"{self._what}: expected records in {path!r}, received {one_line(str(error))}"
            ) from error


class _Descriptor:
    """An open file, closed when it is garbage collected."""

    def __init__(self, path: str):
        self._number = os.open(path, os.O_RDONLY | os.O_CLOEXEC)

    def __del__(self, close=os.close):  # works even after `os` is gone at exit
        if hasattr(self, "_number"):
            close(self._number)

    def read(self, place: int, size: int) -> bytes:
        """Returns `size` bytes from `place` on, fewer only at the end of the file."""
        block = os.pread(self._number, size, place)
        while len(block) < size:  # one call reads less than 2 GiB
            more = os.pread(self._number, size - len(block), place + len(block))
            if not more:
                break
            block += more
        return block


def _kept_open(opener: Callable) -> Callable:
    """Caches `opener` by path, for up to a third of the files that a process may open."""
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    limit = _MOST_FILES if limit == resource.RLIM_INFINITY else min(limit, _MOST_FILES)
    return functools.lru_cache(max(1, limit // 3))(opener)


def _array_record_reader(path: str):
    from array_record.python import array_record_module  # comes with TFDS, on Linux

    return array_record_module.ArrayRecordReader(
        path, options="readahead_buffer_size:0", file_reader_buffer_size=1 << 15
    )
