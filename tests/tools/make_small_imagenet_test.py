"""The small ImageNet can be read like the real one, and its pictures show their class."""

import colorsys
import io

import numpy as np
import pytest
from PIL import Image

from lbkeras.data import load
from tools.make_small_imagenet import make_small_imagenet

SMALL = dict(examples=40, validation=9, shards=3, width=60, height=45)


@pytest.fixture(scope="module", params=["tfrecord", "array_record"])
def made(request, tmp_path_factory):
    """Returns `(data_dir, folder)`."""
    data_dir = tmp_path_factory.mktemp(request.param)
    return data_dir, make_small_imagenet(data_dir, file_format=request.param, **SMALL)


def examples_of(folder, split):
    import tensorflow_datasets as tfds

    builder = tfds.builder_from_directory(folder)
    decoders = {"image": tfds.decode.SkipDecoding()}
    if builder.info.file_format.value == "array_record":
        data = builder.as_data_source(split=split, decoders=decoders)
    else:
        data = tfds.as_numpy(builder.as_dataset(split=split, decoders=decoders))
    return builder.info, list(data)


def test_tfds_reads_it(made):
    info, examples = examples_of(made[1], "train")
    assert info.full_name == "imagenet2012/5.1.0"
    assert info.features["label"].num_classes == 1000
    assert info.features["label"].int2str(0) == "n01440764"
    assert {s: v.num_examples for s, v in info.splits.items()} == {"train": 40, "validation": 9}
    assert info.splits["train"].shard_lengths == [14, 13, 13]
    assert len({example["file_name"] for example in examples}) == len(examples) == 40


@pytest.mark.parametrize("split", ["train", "validation"])
def test_a_few_pictures_are_odd(made, split):
    _, examples = examples_of(made[1], split)
    pictures = [Image.open(io.BytesIO(example["image"])) for example in examples]
    assert {"RGB", "L", "CMYK"} == {picture.mode for picture in pictures}
    assert {"JPEG", "PNG"} == {picture.format for picture in pictures}
    sizes = {picture.size for picture in pictures}
    assert {(60, 1), (1, 45), (300, 225)} <= sizes
    assert len(sizes - {(60, 45), (45, 60)}) >= 4


def test_a_pipeline_reads_all_of_them(made):
    labels = sorted(example["label"] for example in examples_of(made[1], "validation")[1])
    common = dict(batch_size=9, data_dir=made[0], image_size=32)
    in_order = load("imagenet2012", "validation", **common)
    by_shards = load("imagenet2012", "validation", training=True, shuffle="shards", **common)
    for data in (in_order, by_shards):
        images, received = next(iter(data.dataset()))
        assert images.shape == (9, 32, 32, 3) and sorted(received.numpy()) == labels
    assert by_shards.order() == "pieces of files, 9 examples at a time, files: 2, workers: 1"


def test_a_picture_shows_its_class(tmp_path):
    """The hues and the direction of the stripes, read from the pixels, are the label's digits."""
    folder = make_small_imagenet(tmp_path, 60, 1, shards=1, width=120, height=90, plain=True)
    _, examples = examples_of(folder, "train")
    for example in examples:
        picture = Image.open(io.BytesIO(example["image"]))
        pixels = np.asarray(picture.reduce(3), float)  # without the noise
        brightness = pixels.sum(2)
        light = pixels[brightness > np.quantile(brightness, 0.95)].mean(0)
        dark = pixels[brightness < np.quantile(brightness, 0.05)].mean(0)
        first = colorsys.rgb_to_hsv(*light)[0] * 10
        second = colorsys.rgb_to_hsv(*dark)[0] * 10 - 0.5
        spectrum = np.abs(np.fft.rfft2(brightness - brightness.mean(), (1024, 1024)))
        row, column = np.unravel_index(spectrum.argmax(), spectrum.shape)
        angle = np.arctan2(min(row, 1024 - row), column)
        digits = round(first) % 10, round(second) % 10, round(angle / (np.pi / 2) * 9)
        assert digits == (
            example["label"] // 100,
            example["label"] // 10 % 10,
            example["label"] % 10,
        )


def test_the_same_arguments_give_the_same_bytes(tmp_path):
    arguments = dict(examples=4, validation=2, shards=2, width=16, height=12, plain=True)
    folders = [
        make_small_imagenet(tmp_path / name, seed=seed, **arguments)
        for name, seed in (("a", 1), ("b", 1), ("c", 2))
    ]
    files = [sorted(folder.glob("*.tfrecord-*")) for folder in folders]
    a, b, c = ([path.read_bytes() for path in each] for each in files)
    assert a == b and all(x != y for x, y in zip(a, c, strict=True))
