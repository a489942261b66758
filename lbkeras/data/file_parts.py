"""What is read of a prepared set's files, and its records by their places."""

import os
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

from lbkeras.data.record_files import ArrayRecordFiles, TfRecordFiles
from lbkeras.errors import UserError


class FilePart(NamedTuple):
    """Neighboring records of one file.

    Attributes:
        path: the file's.
        skip: records left out before the part.
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
        name: the split's.
        paths: its files, in their order.
        lengths: examples in each.
        num_bytes: of all examples, without what the files' form adds; 0: unknown.
    """

    name: str
    paths: list[str]
    lengths: list[int]
    num_bytes: int

    def parts(self, first: int, last: int) -> list[FilePart]:
        """Where the examples from `first` up to `last` lie."""
        parts, begin = [], 0
        for path, length in zip(self.paths, self.lengths, strict=True):
            skip, end = max(0, first - begin), min(length, last - begin)
            if end > skip:
                parts.append(FilePart(path, skip, end - skip, length))
            begin += length
        return parts


class FileParts:
    """Records by their places in a row of parts of files.

    Args:
        files: their storage.
        parts: `(file, skip, take)`: a file's number, how many of its records are left out before
            the part, and how many are in it.

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
        """The records at `places`, in that order: bytes in an array of objects.

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
    """The records of a set's files.

    Args:
        name: the data set's.
        form: of the files, as TFDS names it: "tfrecord" or "array_record".
        parts: what is read, one part after the other.

    Raises:
        UserError: files of another form, too short or damaged, or with another number of records.
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
    """Refuses missing files, and splits that are there with too few bytes.

    Args:
        name: the data set's.
        files: that are to be read.
        splits: all of the set.

    Raises:
        UserError: as said.
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
