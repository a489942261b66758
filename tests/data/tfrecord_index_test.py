"""The index of records that TensorFlow wrote, and its cache."""

import os

import numpy as np
import pytest
import tensorflow as tf

from lbkeras.data import tfrecord_index
from lbkeras.data.tfrecord_index import record_lengths
from lbkeras.errors import UserError

SIZES = {
    "none": [],
    "empty records": [0, 0, 0],
    "small": list(range(300)),
    "of one block": [(1 << 16) - 16, 5, (1 << 16) - 17, 7, (1 << 16) - 15],
    "large": [100_000, 20_000, 3, 90_000, 70_000],
    "large and small": [5, 90_000, *[7] * 50, 200_000, 1],
}


def write(path, sizes):
    random = np.random.default_rng(len(sizes))
    with tf.io.TFRecordWriter(str(path)) as writer:
        for size in sizes:
            writer.write(random.bytes(size))
    return str(path)


@pytest.mark.parametrize("name", SIZES)
def test_lengths_are_those_of_what_was_written(name, tmp_path):
    path = write(tmp_path / "records", SIZES[name])
    (found,) = record_lengths([path], "set")
    assert found.dtype == np.uint32 and found.tolist() == SIZES[name]


def test_several_files(tmp_path):
    sizes = {write(tmp_path / str(n), range(n)): list(range(n)) for n in (3, 1, 0, 40)}
    found = record_lengths(list(sizes), "set")
    assert [each.tolist() for each in found] == list(sizes.values())


DAMAGES = {
    "in a header": (lambda b: b[:20], "truncated record 1"),
    "in a record": (lambda b: b[:-6], "truncated record 2"),
    "in a footer": (lambda b: b[:-1], "truncated record 2"),
    "length": (lambda b: b[:16] + b"\xff" + b[17:], "corrupted record 1"),
    "checksum": (lambda b: b[:24] + b"\xff" + b[25:], "corrupted record 1"),
    "no records": (lambda b: b"x" * 100, "corrupted record 0"),
}


@pytest.mark.parametrize("name", DAMAGES)
def test_a_damaged_file_is_named(name, tmp_path):
    damage, received = DAMAGES[name]
    path = tmp_path / "records"
    write(path, [0, 9, 30])
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(UserError) as error:
        record_lengths([str(path)], "set")
    assert str(error.value) == f"set: expected records in {str(path)!r}, received {received}"


def test_a_file_that_cannot_be_read_is_named(tmp_path):
    with pytest.raises(UserError, match=f"^set: expected records in '{tmp_path}', received Is a d"):
        record_lengths([str(tmp_path)], "set")


@pytest.fixture
def cached(tmp_path, monkeypatch):
    """The paths of two files whose index is in the cache."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(tfrecord_index, "_WORTH_KEEPING", -1)
    (tmp_path / "set").mkdir()
    paths = [write(tmp_path / "set" / name, sizes) for name, sizes in (("a", [3, 4]), ("b", [5]))]
    record_lengths(paths, "set")
    (tmp_path / "cache" / "lbkeras").stat()
    return paths


def as_lists(paths):
    return [each.tolist() for each in record_lengths(paths, "set")]


def spoil(path):
    """Makes a file unreadable, but keeps its size and times."""
    status, size = os.stat(path), os.path.getsize(path)
    with open(path, "wb") as file:
        file.write(b"x" * size)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def test_files_that_did_not_change_are_not_read_again(cached):
    a, b = cached
    spoil(a)
    assert as_lists([a, b]) == [[3, 4], [5]] and as_lists([b, a]) == [[5], [3, 4]]
    write(b, [6, 7])
    assert as_lists([a, b]) == [[3, 4], [6, 7]]
    spoil(b)
    assert as_lists([b]) == [[6, 7]]
    os.utime(b, ns=(0, 0))
    with pytest.raises(UserError, match="received corrupted record 0"):
        as_lists([b])


@pytest.mark.parametrize("damage", [lambda b: b"", lambda b: b"x", lambda b: b[:-40]])
def test_a_damaged_cache_is_made_again(cached, tmp_path, damage):
    (cache,) = (tmp_path / "cache" / "lbkeras").iterdir()
    cache.write_bytes(damage(cache.read_bytes()))
    assert as_lists(cached) == [[3, 4], [5]]
    for path in cached:
        spoil(path)
    assert as_lists(cached) == [[3, 4], [5]]


def test_without_a_writable_cache(cached, tmp_path, monkeypatch, capsys):
    assert not capsys.readouterr().err
    monkeypatch.setenv("XDG_CACHE_HOME", cached[0])
    assert as_lists(cached) == [[3, 4], [5]]
    said = capsys.readouterr().err
    assert said.startswith(
        "set: the index of records cannot be kept, so the next run makes it again"
    )
    assert "Not a directory" in said and said.count("\n") == 1


def test_an_index_that_is_made_at_once_is_not_kept(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert as_lists([write(tmp_path / "a", [3])]) == [[3]]
    assert not (tmp_path / "cache").exists()


def test_slow_indexing_prints_its_progress(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(tfrecord_index, "_SILENT", 0.0)
    paths = [write(tmp_path / str(n), [1] * 20_000) for n in range(2)]
    record_lengths(paths, "data set 'a'")
    line = capsys.readouterr().err.splitlines()[0]
    assert line.startswith("data set 'a': finding the records of 2 files, only once; ")
