"""Records by their numbers, from TFRecord and ArrayRecord files, in any order and in threads."""

import concurrent.futures
import os

import numpy as np
import pytest
import tensorflow as tf
from array_record.python import array_record_module

from lbkeras.data import record_files
from lbkeras.data.file_parts import FileParts
from lbkeras.data.record_files import ArrayRecordFiles, TfRecordFiles
from lbkeras.data.records import Records
from lbkeras.errors import UserError

COUNTS = [7, 1, 12, 5]


def record(file, number):
    return f"{file}:{number} ".encode() * (1 + 7 * number)


@pytest.fixture(scope="module")
def paths(tmp_path_factory):
    """Maps each format to the paths of files with the same records."""
    folder = tmp_path_factory.mktemp("records")
    made = {"tfrecord": [], "array_record": []}
    for file, count in enumerate(COUNTS):
        for form, of_form in made.items():
            of_form.append(str(folder / f"{form}-{file}"))
            if form == "tfrecord":
                writer = tf.io.TFRecordWriter(of_form[-1])
            else:
                writer = array_record_module.ArrayRecordWriter(of_form[-1], "group_size:1")
            for number in range(count):
                writer.write(record(file, number))
            writer.close()
    return made


def opened(paths, form):
    if form == "tfrecord":
        return TfRecordFiles(paths[form], "set")
    return ArrayRecordFiles(paths[form], COUNTS, "set")


forms = pytest.mark.parametrize("form", ["tfrecord", "array_record"])


@forms
def test_any_order_of_all_files(paths, form):
    files = opened(paths, form)
    parts = [(file, 0, count) for file, count in enumerate(COUNTS)]
    records = Records(FileParts(files, parts), tf.strings.length)
    everything = [record(file, n) for file, count in enumerate(COUNTS) for n in range(count)]
    assert records.num_examples == 25 and records.shards == COUNTS
    assert records.element_spec == tf.TensorSpec((), tf.int32)
    if form == "tfrecord":
        assert records.bytes_each == np.mean([*map(len, everything)])
    random = np.random.default_rng(0)
    for places in (np.arange(25), random.permutation(25), random.permutation(25)[:6], [24], [3, 3]):
        (read,) = records.read(np.array(places))
        assert read.tolist() == [everything[place] for place in places]


@forms
def test_parts_of_files(paths, form):
    records = Records(
        FileParts(opened(paths, form), [(2, 3, 2), (0, 0, 1), (2, 10, 2)]), tf.strings.length
    )
    expected = [record(2, 3), record(2, 4), record(0, 0), record(2, 10), record(2, 11)]
    (read,) = records.read(np.array([4, 0, 2, 1, 3]))
    assert read.tolist() == [expected[place] for place in (4, 0, 2, 1, 3)]
    assert [len(each) for each in expected[:4]] == [int(each) for each in records.take(4).first(9)]
    assert records.take(3).shards == [2, 1] and records.shards == [2, 1, 2]


@forms
def test_more_files_than_may_be_open_in_several_threads(paths, form, monkeypatch):
    monkeypatch.setattr(record_files, "_MOST_FILES", 6)
    files = opened(paths, form)
    before = len(os.listdir("/proc/self/fd"))

    def read(seed):
        file = seed % len(COUNTS)
        numbers = np.arange(seed % COUNTS[file], COUNTS[file], 1 + seed % 3)
        return files.read(file, numbers) == [record(file, number) for number in numbers]

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        assert all(pool.map(read, range(400)))
    assert len(os.listdir("/proc/self/fd")) <= before + 2


def test_neighbors_are_read_at_once_and_nothing_else_is(paths, monkeypatch):
    sizes, pread = [], os.pread
    files = opened(paths, "tfrecord")
    files.read(2, np.array([0]))
    monkeypatch.setattr(os, "pread", lambda *a: sizes.append(a[1]) or pread(*a))
    files.read(2, np.array([1, 2, 3, 6, 9, 10]))
    stored = [16 + len(record(2, number)) for number in range(12)]
    assert sizes == [sum(stored[1:4]), stored[6], sum(stored[9:11])]


def damaged(tmp_path, paths, change):
    """Returns the reader of a file that changes after it is indexed, and the file's path."""
    copy = tmp_path / "records"
    copy.write_bytes(open(paths["tfrecord"][2], "rb").read())
    files = TfRecordFiles([str(copy)], "set")
    change(copy)
    return files, str(copy)


def flip(copy):
    content = bytearray(copy.read_bytes())
    content[16 + len(record(2, 0)) + 14] ^= 1  # the third byte of record 1
    copy.write_bytes(content)


@pytest.mark.parametrize(
    "change, received",
    [
        (flip, "corrupted record 1"),
        (lambda copy: copy.write_bytes(copy.read_bytes()[:-1]), "truncated record 11"),
        (lambda copy: copy.write_bytes(b""), "truncated record 0"),
        (lambda copy: copy.unlink(), "No such file or directory"),
    ],
)
def test_damaged_records_are_named(tmp_path, paths, change, received):
    files, path = damaged(tmp_path, paths, change)
    with pytest.raises(UserError) as error:
        files.read(0, np.arange(12))
    assert str(error.value) == f"set: expected records in {path!r}, received {received}"


def test_a_damaged_array_record_file_is_named(tmp_path, paths):
    content = bytearray(open(paths["array_record"][2], "rb").read())
    path = tmp_path / "records"
    for change in (lambda c: c[:-70], lambda c: b"", lambda c: c[:100] + b"xxxxxxxxxxxx" + c[112:]):
        path.write_bytes(change(content))
        files = ArrayRecordFiles([str(path)], [12], "set")
        with pytest.raises(UserError, match=f"set: expected records in {str(path)!r}, received"):
            files.read(0, np.arange(12))
