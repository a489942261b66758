"""What is read from a set's JSON files equals what TensorFlow Datasets reads from them."""

import json
import os
import re
import shutil

import numpy as np
import pytest
import tensorflow_datasets as tfds

from lbkeras.data.images import describe_images, form_of_images
from lbkeras.data.numpy_sets import describe_set, form_of_set
from lbkeras.data.prepared_info import default_data_dir, read_info
from lbkeras.errors import UserError
from lbkeras.keras_internals.tfds import builder_from_files
from lbkeras.keras_internals.tfds import default_data_dir as default_of_tfds

NAME = "fashion_mnist"  # one that TFDS knows, in another form
IMAGE = tfds.features.Image(shape=(None, 7, 1), encoding_format="png")
LABEL = tfds.features.ClassLabel(num_classes=3)
SIZES = {"train": 3, "test": 1}


def write(data_dir, name=NAME, version="1.2.3", **features):
    """Writes a set of gray images in TFDS' layout; returns its folder."""
    features = {"image": IMAGE, "label": LABEL} | features
    example = {
        key: 1 if feature is LABEL else np.zeros((6, 7, 1), np.uint8)
        for key, feature in features.items()
    }
    tfds.dataset_builders.store_as_tfds_dataset(
        name=name,
        version=version,
        features=tfds.features.FeaturesDict(features),
        split_datasets={split: [(i, example) for i in range(n)] for split, n in SIZES.items()},
        data_dir=data_dir,
        description="Made for\n a test.",
        disable_shuffling=True,
    )
    return data_dir / name / version


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    return write(tmp_path_factory.mktemp("tfds"))


@pytest.fixture
def folder(written, tmp_path):
    """The folder of a copy; its data_dir is two levels up."""
    return shutil.copytree(written, tmp_path / NAME / "1.2.3")


@pytest.fixture
def data_dir(folder):
    return folder.parents[1]


def change(path, **changes):
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def test_the_same_as_tfds(data_dir):
    info, of_tfds = read_info(NAME, data_dir), builder_from_files(NAME, str(data_dir)).info
    assert (info.full_name, info.form) == (of_tfds.full_name, of_tfds.file_format.value)
    assert list(info.splits) == list(of_tfds.splits)
    for name, split in info.splits.items():
        expected = of_tfds.splits[name]
        assert split.paths == list(map(os.fspath, expected.filepaths))
        assert split.lengths == expected.shard_lengths == [SIZES[name]]
        assert split.num_bytes == expected.num_bytes > 0
    assert form_of_set(NAME, data_dir) == form_of_images(NAME, data_dir) == ((None, 7, 1), 3)
    assert describe_set(NAME, data_dir) == describe_images(NAME, data_dir)
    assert describe_set(NAME, data_dir) == "fashion_mnist/1.2.3. Made for a test."


def test_files_of_several_shards_and_another_template(folder, data_dir):
    splits = [
        {"name": "train", "shardLengths": ["1", "2"], "numBytes": "9"},
        {"name": "test", "shardLengths": ["4"], "filepathTemplate": "{SPLIT}/{SHARD_INDEX}.x"},
    ]
    change(folder / "dataset_info.json", splits=splits, fileFormat="array_record")
    info, of_tfds = read_info(NAME, data_dir), builder_from_files(NAME, str(data_dir)).info
    for name, split in info.splits.items():
        assert split.paths == list(map(os.fspath, of_tfds.splits[name].filepaths))
        assert split.lengths == of_tfds.splits[name].shard_lengths
    assert info.form == "array_record"


@pytest.mark.parametrize("name", ["", ":1.2.3", ":*.*.*", ":1.*.*", "/wide", "/wide:1.10.0"])
def test_the_same_version_and_config_as_tfds(name, folder, data_dir):
    for other in ("1.10.0", "1.9.0", "wide/1.2.3", "wide/1.10.0"):
        made = shutil.copytree(folder, folder.parent / other)
        number = other.split("/")[-1]
        changes = {"version": number} | ({"configName": "wide"} if "/" in other else {})
        change(made / "dataset_info.json", **changes)
    info = read_info(NAME + name, data_dir)
    assert info.full_name == builder_from_files(NAME + name, str(data_dir)).info.full_name


def test_the_default_config_is_the_sets_own(folder, data_dir):
    unknown = folder.parent.rename(data_dir / "unknown")  # its code is not in TFDS
    made = (unknown / "1.2.3").rename(unknown / "moved")
    (unknown / "wide").mkdir()
    made = made.rename(unknown / "wide/1.2.3")
    change(made / "dataset_info.json", name="unknown", configName="wide")
    with pytest.raises(UserError, match=r"'unknown' is not on disk.*\(only wide is there\)"):
        read_info("unknown", data_dir)
    (unknown / ".config").mkdir()
    (unknown / ".config/metadata.json").write_text('{"default_config_name": "wide"}')
    assert read_info("unknown", data_dir).full_name == "unknown/wide/1.2.3"
    assert builder_from_files("unknown", str(data_dir)).info.full_name == "unknown/wide/1.2.3"


def test_features_as_tfds_wrote_them_before_4_5(folder, data_dir):
    module = "tensorflow_datasets.core.features"
    image = {"shape": [6, 7, 1], "dtype": "uint8", "encoding_format": "png"}
    label = '{"numClasses": "5"}'
    features = {
        "type": f"{module}.features_dict.FeaturesDict",
        "content": {
            "picture": {"type": f"{module}.image_feature.Image", "content": image},
            "kind": {
                "type": f"{module}.class_label_feature.ClassLabel",
                "content": label,
                "proto_cls": "tensorflow_datasets.ClassLabel",
            },
        },
    }
    (folder / "features.json").write_text(json.dumps(features))
    info = read_info(NAME, data_dir)
    assert (info.image_key, info.label_key) == ("picture", "kind")
    assert form_of_set(NAME, data_dir) == form_of_images(NAME, data_dir) == ((6, 7, 1), 5)


def test_of_several_images_and_labels_the_supervised_ones_are_used(tmp_path):
    folder = write(tmp_path, second=IMAGE, coarse=LABEL)
    with pytest.raises(UserError, match="received coarse, image, label, second"):
        read_info(NAME, tmp_path)
    items = [{"featureKey": "second"}, {"featureKey": "coarse"}]
    change(folder / "dataset_info.json", supervisedKeys={"tuple": {"items": items}})
    info = read_info(NAME, tmp_path)
    assert (info.image_key, info.label_key) == ("second", "coarse")
    change(folder / "dataset_info.json", supervisedKeys={"input": "image", "output": "label"})
    assert read_info(NAME, tmp_path).image_key == "image"
    assert form_of_images(NAME, tmp_path) == form_of_set(NAME, tmp_path)


def test_the_names_and_the_default_folder_of_tfds(data_dir, monkeypatch):
    assert read_info("FashionMnist", data_dir).full_name == "fashion_mnist/1.2.3"
    monkeypatch.setenv("TFDS_DATA_DIR", str(data_dir))
    assert read_info(NAME).full_name == "fashion_mnist/1.2.3"
    monkeypatch.delenv("TFDS_DATA_DIR")
    assert default_data_dir() == default_of_tfds()


@pytest.mark.parametrize(
    "name, said",
    [
        ("fashion_mnist:9.9.9", r"searched '.*' \(only 1.2.3 is there\); prepare it with `tfds"),
        ("fashion_mnist/small", r"searched '.*' \(only 1.2.3 is there\); prepare it"),
        ("fashion_mnits", r"searched '.*' \(did you mean 'fashion_mnist'\?\); prepare it with"),
        ("../x y", r"searched '.*'; prepare it with .*, or name its folder with data_dir"),
    ],
)
def test_sets_that_are_not_on_disk(name, said, data_dir):
    with pytest.raises(UserError, match=f"data set {re.escape(repr(name))} is not on disk: {said}"):
        read_info(name, data_dir)
