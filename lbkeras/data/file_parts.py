"""Reads records of a prepared set's files by their places."""

import os
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

from lbkeras.data.record_files import ArrayRecordFiles, TfRecordFiles
from lbkeras.errors import UserError


class FilePart(NamedTuple):
    """Consecutive records of one file.

    Attributes:
        path: of the file.
        skip: records before the part.
        take: records in the part.
        records: in the whole file.
    """

    path: str
    skip: int
    take: int
    records: int


class SplitFiles(NamedTuple):
    """The files of one split.

    Attributes:
        name: of the split.
        paths: of its files, in their order.
        lengths: examples in each file.
        num_bytes: in all examples, without what the file format adds; 0: unknown.
    """

    name: str
    paths: list[str]
    lengths: list[int]
    num_bytes: int

    def parts(self, first: int, last: int) -> list[FilePart]:
        """Returns the parts of files that hold examples `first` to `last` - 1."""
        parts, begin = [], 0
        for path, length in zip(self.paths, self.lengths, strict=True):
            skip, end = max(0, first - begin), min(length, last - begin)
            if end > skip:
                parts.append(FilePart(path, skip, end - skip, length))
            begin += length
        return parts


class FileParts:
    """Records of several parts of files, numbered through.

    Args:
        files: the files.
        parts: `(file, skip, take)`: a file's number, how many of its records precede the part, and
            how many are in it.

    Attributes:
        shards: records in each part.
        num_examples: records in all of them.
        bytes_each: mean size of a record.
    """

    def __init__(
        self, files: TfRecordFiles | ArrayRecordFiles, parts: Sequence[tuple[int, int, int]]
    ):
        self._files = files
        self._numbers, skips, takes = np.array(parts, np.int64).T
        self._ends = np.cumsum(takes)
        self._shifts = self._ends - takes - skips  # from a record's number to its place
        self.shards: list[int] = takes.tolist()
        self.num_examples = int(takes.sum())
        self.bytes_each = files.bytes_each

    def read(self, places: np.ndarray) -> np.ndarray:
        """Returns the records at `places`, in that order: bytes in an array of objects.

        Raises:
            UserError: a record is damaged, or its file cannot be read.
        """
        records = np.empty(len(places), object)
        ascending = np.argsort(places)
        parts = np.searchsorted(self._ends, places[ascending], side="right")
        for part in np.unique(parts):
            rows = ascending[parts == part]
            numbers = places[rows] - self._shifts[part]
            found = self._files.read(int(self._numbers[part]), numbers)
            for row, record in zip(rows, found, strict=True):
                records[row] = record
        return records


def open_parts(name: str, form: str, parts: Sequence[FilePart]) -> FileParts:
    """Opens the records of a set's files.

    Args:
        name: the data set's.
        form: the file format, as TFDS names it: "tfrecord" or "array_record".
        parts: what to read, one part after the other.

    Raises:
        UserError: the files have another format or a different number of records, are too short or
            are damaged.
    """
    what = f"data set {name!r}"
    counts = {part.path: part.records for part in parts}
    paths = list(counts)
    files: TfRecordFiles | ArrayRecordFiles
    if form == "tfrecord":
        files = TfRecordFiles(paths, what)
    elif form == "array_record":
        files = ArrayRecordFiles(paths, list(counts.values()), what)
    else:
        raise UserError(f"{what}: expected TFRecord or ArrayRecord files, received {form}")
    for path, expected, received in zip(paths, counts.values(), files.counts, strict=True):
        if received != expected:
            raise UserError(
                f"{what}: expected {expected:,} records in {path!r}, received {received:,}"
            )
    numbers = {path: number for number, path in enumerate(paths)}
    return FileParts(files, [(numbers[part.path], part.skip, part.take) for part in parts])


def check_files(name: str, files: Iterable[str], splits: Iterable[SplitFiles]) -> None:
    """Refuses missing files, and splits whose files have too few bytes.

    Args:
        name: the data set's.
        files: paths of the files to read.
        splits: all splits of the set.

    Raises:
        UserError: a file is missing, or a split's files have too few bytes.
    """
    needed = set(files)
    for file in sorted(needed):
        if not os.path.isfile(file):
            raise UserError(f"data set {name!r}: expected the file {file!r}, received none")
    for split in splits:
        if not needed.intersection(split.paths) or not all(map(os.path.isfile, split.paths)):
            continue
        size = sum(map(os.path.getsize, split.paths))
        if size < split.num_bytes:
            several = len(split.paths) > 1
            where = f"the {len(split.paths)} files" if several else repr(split.paths[0])
            raise UserError(
                f"data set {name!r}: expected at least {split.num_bytes:,} bytes in {where} of "
                f"split {split.name!r}, received {size:,}"
            )
