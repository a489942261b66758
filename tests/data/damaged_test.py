"""Damaged TFDS sets: the error is one line that names the set and, if known, the file."""

import json
import pathlib
import shutil

import numpy as np
import pytest
import tensorflow as tf

from lbkeras import data
from lbkeras.cli.main import main
from lbkeras.data import imagenet, numpy_photographs
from lbkeras.data.images import load_images
from lbkeras.data.numpy_sets import load_set, prepared_set
from lbkeras.data.reading import reading_data
from lbkeras.errors import UserError

CONFIG = pathlib.Path(__file__).parents[2] / "configs/papers/smith2018.py"
NAME = "tiny"
RECORDS = f"{NAME}-train.tfrecord-00000-of-00001"


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The data_dir of a set of 40 JPEG images in three classes."""
    import tensorflow_datasets as tfds

    data_dir = tmp_path_factory.mktemp("tfds")
    random = np.random.default_rng(0)
    rows = [
        {"image": random.integers(0, 256, (8, 9, 3), np.uint8), "label": number % 3}
        for number in range(40)
    ]
    tfds.dataset_builders.store_as_tfds_dataset(
        name=NAME,
        version="1.0.0",
        features=tfds.features.FeaturesDict(
            {
                "image": tfds.features.Image(shape=(8, 9, 3), encoding_format="jpeg"),
                "label": tfds.features.ClassLabel(num_classes=3),
            }
        ),
        split_datasets={"train": list(enumerate(rows))},
        data_dir=data_dir,
        disable_shuffling=True,
    )
    return data_dir


@pytest.fixture
def folder(whole, tmp_path):
    """The folder of a copy that a test may damage; its data_dir is two levels up."""
    return shutil.copytree(whole, tmp_path / "data") / NAME / "1.0.0"


def rewrite(folder, number, image=None, label=None):
    """Rewrites one record with another image or label."""
    path = str(folder / RECORDS)
    records = [tf.train.Example.FromString(r.numpy()) for r in tf.data.TFRecordDataset(path)]
    features = records[number].features.feature
    if image is not None:
        features["image"].bytes_list.value[0] = image(features["image"].bytes_list.value[0])
    if label is not None:
        features["label"].int64_list.value[0] = label
    with tf.io.TFRecordWriter(path) as writer:
        for record in records:
            writer.write(record.SerializeToString())


def flip(folder, share):
    path = folder / RECORDS
    content = bytearray(path.read_bytes())
    content[int(len(content) * share)] ^= 255
    path.write_bytes(content)


def shorten(folder, share):
    path = folder / RECORDS
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])


def half(encoded):
    return encoded[: len(encoded) // 2]


def half_a_png(jpeg):
    return half(tf.io.encode_png(tf.io.decode_jpeg(jpeg)).numpy()).ljust(len(jpeg), b"\0")


def without_classes(folder):
    path = folder / "features.json"
    features = json.loads(path.read_text())
    label = features["featuresDict"]["features"]["label"]
    label["classLabel"] = {}
    path.write_text(json.dumps(features))


BROKEN = {
    "no info": (lambda f: (f / "dataset_info.json").unlink(), "in '.*': expected a dataset_info"),
    "info is garbage": (lambda f: (f / "dataset_info.json").write_text("x"), "expected a dataset_"),
    "info is empty": (lambda f: (f / "dataset_info.json").write_text("{}"), "expected a dataset_i"),
    "features": (lambda f: (f / "features.json").write_text("{"), "expected a dataset_info.json"),
    "no classes": (without_classes, "expected a features.json with the number of classes"),
    "missing": (lambda f: (f / RECORDS).unlink(), f"expected the file '.*{RECORDS}', received"),
    "empty": (lambda f: shorten(f, 0), f"expected at least .* bytes in '.*{RECORDS}'.*received 0"),
    "half": (lambda f: shorten(f, 0.5), f"expected at least .* bytes in '.*{RECORDS}'"),
    "first": (lambda f: flip(f, 0.001), f"expected records in '.*{RECORDS}', received corrupted"),
    "fewer": (lambda f: shorten(f, 0.998), f"records in '.*{RECORDS}', received truncated record"),
    "label": (lambda f: rewrite(f, 1, label=-3), r"expected labels from 0 to 2, received -3"),
    "high label": (lambda f: rewrite(f, 1, label=3), r"expected labels from 0 to 2, received 3"),
    "JPEG": (lambda f: rewrite(f, 0, image=half), "received .*JPEG"),
    "PNG": (lambda f: rewrite(f, 0, image=half_a_png), "received .*PNG"),
    "no image": (
        lambda f: rewrite(f, 0, image=lambda i: b"x" * len(i)),
        "received (an u|U)nknown image file",
    ),
}
LATER = {
    "middle": (lambda f: flip(f, 0.97), f"records in '.*{RECORDS}', received corrupted record 38"),
    "late label": (lambda f: rewrite(f, 38, label=-3), "labels from 0 to 2, received -3"),
    "late JPEG": (lambda f: rewrite(f, 38, image=half), "received .*JPEG"),
    "late PNG": (lambda f: rewrite(f, 38, image=half_a_png), "received .*PNG"),
}


def refused(read):
    with pytest.raises(UserError) as error:
        read()
    message = str(error.value)
    assert "\n" not in message and "expected" in message and "received" in message
    assert message.startswith(f"data set {NAME!r}"), message
    return error


@pytest.mark.parametrize("load", [load_images, load_set])
@pytest.mark.parametrize("case", [*BROKEN, *LATER])
def test_sets_in_memory_find_all_damage_at_once(case, load, folder):
    damage, message = (BROKEN | LATER)[case]
    damage(folder)
    error = refused(lambda: load(NAME, "train", folder.parents[1]))
    assert error.match(message)


@pytest.mark.parametrize("case", ["missing", "half", "first", "fewer", "label", "JPEG", "PNG"])
def test_random_access_checks_files_lengths_and_first_examples(case, folder, monkeypatch):
    damage, message = BROKEN[case]
    damage(folder)
    monkeypatch.setitem(load_images.__kwdefaults__, "max_bytes", 10)
    error = refused(lambda: data.load(NAME, "train", 4, data_dir=str(folder.parents[1])))
    assert error.match(message)


@pytest.mark.parametrize("case", LATER)
def test_numpy_sets_find_other_damage_when_they_read_it(case, folder):
    damage, message = LATER[case]
    damage(folder)
    examples = prepared_set(
        NAME, "train", folder.parents[1], decode=numpy_photographs.center_crop(8, 8)
    )
    assert len(examples[0][0]) == 8
    error = refused(lambda: examples.__getitems__(range(30, 40)))
    assert error.match(message)


@pytest.mark.slow
@pytest.mark.parametrize("case", LATER)
def test_random_access_finds_other_damage_when_it_reads_it(case, folder):
    damage, message = LATER[case]
    damage(folder)
    records = load_images(NAME, "train", folder.parents[1], max_bytes=10)
    train = data.Pipeline(records, 4, decode=imagenet.center_crop(8, 8))

    def read():
        with reading_data(NAME):
            list(train.dataset())

    assert refused(read).match(message)


def test_errors_that_are_not_about_data_stay():
    with pytest.raises(tf.errors.InvalidArgumentError):
        with reading_data(NAME):
            tf.debugging.assert_equal(1, 2)


@pytest.mark.release  # the gate: every reader finds the damage, above
def test_a_run_on_damaged_data_ends_in_one_line_and_resumes_when_they_are_repaired(
    folder, tmp_path, monkeypatch, capsys
):
    monkeypatch.setitem(load_images.__kwdefaults__, "max_bytes", 10)
    good = (folder / RECORDS).read_bytes()
    flip(folder, 0.97)
    command = [
        "train",
        f"--config={CONFIG}:mnist",
        f"--data_dir={folder.parents[1]}",
        f"--workdir={tmp_path / 'run'}",
        f"--config.data.name={NAME}",
        "--config.data.num_examples=40",
        "--config.data.test_split=train",
        "--config.plan.epochs=1",
        "--config.plan.boundaries=()",
        "--config.plan.batch_size=20",
        "--config.plan.max_batch_size=20",
        "--config.model.width=1",
    ]
    for content, status in ((None, 2), (good, 0)):
        if content:
            (folder / RECORDS).write_bytes(content)
        assert main(command) == status
        error = capsys.readouterr().err
        assert "Traceback" not in error
        if not content:
            line = error.splitlines()[-1]
            assert line.startswith(f"lbkeras: error: data set {NAME!r}: expected records in")
            assert line.endswith("received corrupted record 38")
