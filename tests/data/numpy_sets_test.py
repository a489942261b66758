"""Sets read without TensorFlow equal those read with it."""

import importlib.util
import os
import subprocess
import sys

import numpy as np
import pytest

from lbkeras.data import imagenet, numpy_photographs, numpy_sets
from lbkeras.data.images import describe_images, load_images
from lbkeras.data.numpy_sets import load_arrays, load_set, prepared_set
from lbkeras.data.order import epoch_order, step_seeds
from lbkeras.errors import UserError
from tests.data.decode_image_test import photograph
from tests.data.images_test import real_data
from tests.data.random_access_test import GRAY, PHOTOGRAPHS, data_dir  # noqa: F401

SUM = "train[-3:]+test[2:5]"


@pytest.mark.parametrize("name, split", [("gray", "train"), ("gray", SUM), ("gray_array", SUM)])
def test_arrays_equal_tensorflows(name, split, data_dir, monkeypatch):  # noqa: F811
    monkeypatch.setattr(numpy_sets, "_CHUNK", 7)
    assert_tensorflow_s(name, split, data_dir)


def test_arrays_of_jpeg_equal_tensorflows(tmp_path):
    """Both use the accurate transform; the fast one gives different pixels."""
    import tensorflow_datasets as tfds

    images = [photograph(16, 17, 3) for _ in range(5)]
    rows = [{"image": image, "label": 0} for image in images]
    shape = images[0].shape
    tfds.dataset_builders.store_as_tfds_dataset(
        name="jpeg",
        version="1.0.0",
        features=tfds.features.FeaturesDict(
            {
                "image": tfds.features.Image(shape=shape, encoding_format="jpeg"),
                "label": tfds.features.ClassLabel(num_classes=1),
            }
        ),
        split_datasets={"train": list(enumerate(rows))},
        data_dir=tmp_path,
    )
    assert_tensorflow_s("jpeg", "train", tmp_path)


def assert_tensorflow_s(name, split, folder):
    expected = load_images(name, split, folder)
    received = load_arrays(name, split, folder)
    for part, of_tensorflow in zip(received, expected, strict=True):
        np.testing.assert_array_equal(part, of_tensorflow)
        assert (part.dtype, part.shape) == (of_tensorflow.dtype, of_tensorflow.shape)


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("name", ["photographs", "photographs_array"])
def test_larger_sets_equal_tensorflows_in_any_order(name, threads, data_dir, monkeypatch):  # noqa: F811
    monkeypatch.setattr(numpy_sets.os, "cpu_count", lambda: threads)
    split = "train[2:]+test[:2]"
    expected = list(load_images(name, split, data_dir).first(PHOTOGRAPHS).as_numpy_iterator())
    examples = load_set(name, split, data_dir)
    assert len(examples) == len(expected) == PHOTOGRAPHS
    assert sum(examples.shards) == PHOTOGRAPHS and examples.bytes_each > 500
    assert [examples[place] for place in range(PHOTOGRAPHS)] == expected
    places = np.random.default_rng(0).permutation(PHOTOGRAPHS)[:9]
    assert examples.__getitems__(places) == [expected[place] for place in places]
    assert examples.__getitems__([3]) == [expected[3]] and examples[-1] == expected[-1]
    with pytest.raises(IndexError):
        examples[PHOTOGRAPHS]


def test_a_small_set_may_stay_on_disk(data_dir):  # noqa: F811
    examples = load_set("gray", "train", data_dir, max_bytes=GRAY * 7 * 6 - 1)
    assert len(examples) == GRAY and isinstance(examples[0][0], bytes)
    assert isinstance(load_set("gray", "train", data_dir, max_bytes=GRAY * 7 * 6), tuple)


def test_decoded_examples(data_dir):  # noqa: F811
    decode = numpy_photographs.center_crop(8, 10)
    examples = prepared_set("photographs", "test", data_dir, decode=decode)
    of_tensorflow = imagenet.center_crop(8, 10)
    records = load_images("photographs", "test", data_dir).first(9)
    expected = records.map(lambda *example: of_tensorflow(example))
    for (image, label), (other, other_label) in zip(
        examples.__getitems__(range(9)), expected.as_numpy_iterator(), strict=True
    ):
        assert image.shape == other.shape and label == other_label
        assert np.abs(image.astype(int) - other).mean() < 3  # noise in JPEG, with another transform


def test_images_of_several_shapes_are_refused_as_arrays(data_dir):  # noqa: F811
    with pytest.raises(UserError, match=r"'photographs': expected images of one shape, received"):
        load_arrays("photographs", "train", data_dir)


@pytest.mark.parametrize("split", ["validation", "train[:54]", "train[:x%]", ""])
def test_unknown_splits(split, data_dir):  # noqa: F811
    messages = []
    for load in (load_set, load_images):
        with pytest.raises(UserError, match="'gray': unknown split .* expected one of") as error:
            load("gray", split, data_dir)
        messages.append(str(error.value))
    assert messages[0] == messages[1]


def test_no_tensorflow_is_needed(data_dir, tmp_path):  # noqa: F811
    """Reads in a process that cannot import TensorFlow, on Keras' JAX backend."""
    if importlib.util.find_spec("jax") is None:
        pytest.skip("jax is not installed")
    program = f"""
import sys
sys.modules.update(tensorflow=None, tensorflow_datasets=None)
import numpy as np
from lbkeras import data
from lbkeras.data.load import describe
folder = {data_dir!r}
print(describe("gray", folder))
gray = data.load("gray", "train", {GRAY}, data_dir=folder, training=False)
(images, labels), = gray.dataset()
test = data.load("photographs", "test", 9, data_dir=folder, image_size=8, resize=10)
(decoded, _), = test.dataset()
train = data.load("photographs", "train", 9, data_dir=folder, image_size=8)
(augmented, _), *_ = train.dataset(epoch=1)
np.savez({str(tmp_path / "read")!r}, images=images, labels=labels, decoded=decoded,
         augmented=augmented)
"""
    environment = os.environ | {"KERAS_BACKEND": "jax", "JAX_PLATFORMS": "cpu"}
    command = [sys.executable, "-c", program]
    process = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)
    assert process.returncode == 0, process.stderr
    assert process.stdout.strip() == describe_images("gray", data_dir)
    read = np.load(tmp_path / "read.npz")
    for name, part in zip(
        ("images", "labels"), load_images("gray", "train", data_dir), strict=True
    ):
        np.testing.assert_array_equal(read[name], part)
    decode = numpy_photographs.center_crop(8, 10)
    examples = prepared_set("photographs", "test", data_dir, decode=decode)
    np.testing.assert_array_equal(read["decoded"], [image for image, _ in examples])
    decode = numpy_photographs.random_resized_crop(8)
    encoded = load_set("photographs", "train", data_dir)
    seeds = step_seeds(0, 1, 1)[0, 0], 0
    first = epoch_order(PHOTOGRAPHS, 0, 1)[0]
    np.testing.assert_array_equal(read["augmented"][0], decode(encoded[first], seeds)[0])


@pytest.mark.parametrize("name, split", [("mnist", "test[:20%]"), ("cifar10", "test[1%:11%]")])
def test_real_sets(name, split):
    folder = real_data(name)
    images, labels = load_arrays(name, split, folder)
    expected, expected_labels = load_images(name, split, folder)
    np.testing.assert_array_equal(labels, expected_labels)
    np.testing.assert_array_equal(images, expected)
