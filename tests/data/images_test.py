import os
import pathlib
import re

import numpy as np
import pytest
import tensorflow as tf

from lbkeras.data import imagenet
from lbkeras.data.images import load_images
from lbkeras.data.numpy_sets import load_set
from lbkeras.errors import UserError

NUM_TRAIN, NUM_TEST = 12, 5


def made_images(count, shape, seed):
    generator = np.random.default_rng(seed)
    return [
        {"image": generator.integers(0, 256, shape(i), dtype=np.uint8), "label": i % 3}
        for i in range(count)
    ]


def fixed_shape(i):
    return (6, 7, 1)


def varying_shape(i):
    return (20 + i, 30 - i, 3)


def write_set(data_dir, name, shape, image_feature, label_feature=None):
    """Writes a data set in TFDS' layout, for which TFDS has no code."""
    import tensorflow_datasets as tfds

    train = made_images(NUM_TRAIN, shape, seed=0)
    test = made_images(NUM_TEST, shape, seed=1)
    features = tfds.features.FeaturesDict(
        {"image": image_feature, "label": label_feature or tfds.features.ClassLabel(num_classes=3)}
    )
    tfds.dataset_builders.store_as_tfds_dataset(
        name=name,
        version="1.0.0",
        features=features,
        split_datasets={"train": list(enumerate(train)), "test": list(enumerate(test))},
        data_dir=data_dir,
        disable_shuffling=True,
    )
    return train, test


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """`(data_dir, train, test)` of a set of small gray images, stored as PNG."""
    import tensorflow_datasets as tfds

    data_dir = tmp_path_factory.mktemp("tfds")
    image = tfds.features.Image(shape=(6, 7, 1), encoding_format="png")
    return str(data_dir), *write_set(data_dir, "tiny_gray", fixed_shape, image)


@pytest.fixture(scope="module")
def made_photographs(tmp_path_factory):
    import tensorflow_datasets as tfds

    data_dir = tmp_path_factory.mktemp("tfds_photographs")
    image = tfds.features.Image(shape=(None, None, 3), encoding_format="jpeg")
    return str(data_dir), *write_set(data_dir, "tiny_photographs", varying_shape, image)


def test_fixed_shape_gives_arrays(made):
    data_dir, *made_splits = made
    for split, examples in zip(("train", "test"), made_splits, strict=True):
        images, labels = load_images("tiny_gray", split, data_dir)
        assert images.dtype == np.uint8 and labels.dtype == np.int64
        np.testing.assert_array_equal(images, np.stack([e["image"] for e in examples]))
        np.testing.assert_array_equal(labels, [e["label"] for e in examples])


def test_parts_of_splits_and_versions(made):
    data_dir, train, test = made
    images, labels = load_images("tiny_gray:1.0.0", "train[:25%]+test[:2]", data_dir)
    np.testing.assert_array_equal(images, np.stack([e["image"] for e in train[:3] + test[:2]]))
    assert labels.tolist() == [0, 1, 2, 0, 1]


def test_too_large_for_memory_stays_encoded(made):
    data_dir, _, test = made
    records = load_images("tiny_gray", "test", data_dir, max_bytes=100)
    assert records.num_examples == NUM_TEST
    for (encoded, label), example in zip(records.first(NUM_TEST), test, strict=True):
        np.testing.assert_array_equal(tf.io.decode_image(encoded), example["image"])
        assert label == example["label"]


def test_varying_shapes_give_encoded_images(made_photographs):
    data_dir, train, _ = made_photographs
    records = load_images("tiny_photographs", "train", data_dir)
    assert records.num_examples == NUM_TRAIN
    dataset = records.first(NUM_TRAIN)
    assert (
        records.element_spec
        == dataset.element_spec
        == (tf.TensorSpec((), tf.string), tf.TensorSpec((), tf.int64))
    )
    shapes = [tuple(tf.io.decode_jpeg(encoded).shape) for encoded, _ in dataset]
    assert shapes == [example["image"].shape for example in train]
    decode = imagenet.center_crop(16, 18)
    images, labels = next(iter(dataset.map(lambda x, y: decode((x, y))).batch(NUM_TRAIN)))
    assert images.shape == (NUM_TRAIN, 16, 16, 3)
    assert labels.numpy().tolist() == [example["label"] for example in train]


def test_unknown_set_names_the_nearest(tmp_path):
    with pytest.raises(
        UserError, match="unknown data set 'cifar_10'.*did you mean.*'cifar10'"
    ) as e:
        load_images("cifar_10", data_dir=tmp_path)
    assert "\n" not in str(e.value)


def test_unknown_set_names_the_nearest_on_disk(made):
    with pytest.raises(UserError, match="did you mean 'tiny_gray'"):
        load_images("tiny_grey", data_dir=made[0])


def test_an_invalid_name(tmp_path):
    with pytest.raises(UserError, match="unknown data set '../x y'"):
        load_images("../x y", data_dir=tmp_path)


def test_set_not_on_disk_says_where_and_how(tmp_path):
    with pytest.raises(UserError) as e:
        load_images("cifar100", data_dir=str(tmp_path))
    assert str(e.value) == (
        f"data set 'cifar100' is not on disk: searched '{tmp_path}'; prepare it with "
        f"`tfds build cifar100 --data_dir {tmp_path}`, or name its folder with data_dir"
    )


def test_another_version_on_disk(tmp_path):
    (tmp_path / "mnist" / "0.0.1").mkdir(parents=True)
    with pytest.raises(UserError, match=r"'mnist:9.9.9' is not on disk.*\(only 0.0.1 is there\)"):
        load_images("mnist:9.9.9", data_dir=str(tmp_path))


@pytest.mark.parametrize("split", ["validation", "train[:x%]", ""])
def test_unknown_split_names_the_valid_ones(made, split):
    with pytest.raises(
        UserError, match="unknown split .* expected one of (test, train|train, test) or"
    ) as e:
        load_images("tiny_gray", split, made[0])
    assert "\n" not in str(e.value)


@pytest.mark.parametrize("part", ["[:0%]", "[4:1]"])
@pytest.mark.parametrize("load", [load_images, load_set])
def test_empty_split(load, part, made):
    message = f"data set 'tiny_gray': split 'train{part}' is empty"
    with pytest.raises(UserError, match=re.escape(message)):
        load("tiny_gray", f"train{part}", made[0])


def test_not_a_classification_set(tmp_path):
    import tensorflow_datasets as tfds

    image = tfds.features.Image(shape=(6, 7, 1))
    label = tfds.features.Scalar(np.int64)
    write_set(tmp_path, "tiny_counts", fixed_shape, image, label)
    with pytest.raises(UserError, match="'tiny_counts' is not an image-classification set"):
        load_images("tiny_counts", data_dir=tmp_path)


def real_data(name):
    default = pathlib.Path(__file__).parents[3] / "shared" / "data" / "tfds"
    data_dir = pathlib.Path(os.environ.get("LBKERAS_DATA_DIR", default))
    if not (data_dir / name).is_dir():
        pytest.skip(f"no {name} in {data_dir}; set LBKERAS_DATA_DIR to a TFDS folder that has it")
    return data_dir


@pytest.mark.parametrize(
    "name, shape, first_labels",
    # The first labels of the official TFDS test sets' files.
    [("mnist", (28, 28, 1), [2, 0, 4, 8, 7]), ("cifar10", (32, 32, 3), [7, 0, 6, 9, 5])],
)
def test_real_sets(name, shape, first_labels):
    images, labels = load_images(name, "test[:20%]", real_data(name))
    assert images.shape == (2000, *shape) and images.dtype == np.uint8
    assert sorted(set(labels.tolist())) == list(range(10))
    assert labels[:5].tolist() == first_labels
    assert 20 < images.mean() < 130
