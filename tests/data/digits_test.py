import numpy as np
import pytest
from sklearn.datasets import load_digits as sklearn_digits

from lbkeras.data.digits import load_digits
from lbkeras.errors import UserError


def test_shapes_types_and_range():
    for split, count in (("train", 1437), ("test", 360)):
        images, labels = load_digits(split)
        assert images.shape == (count, 8, 8, 1) and images.dtype == np.uint8
        assert labels.shape == (count,) and labels.dtype == np.int64
        assert images.min() == 0 and images.max() == 16


def test_the_splits_partition_the_whole_set():
    every, every_label = sklearn_digits(return_X_y=True)
    parts = [load_digits(split) for split in ("train", "test")]
    rows = np.concatenate([images.reshape(-1, 64) for images, _ in parts])
    labels = np.concatenate([labels for _, labels in parts])
    received = sorted(map(tuple, np.column_stack([rows, labels]).tolist()))
    expected = sorted(map(tuple, np.column_stack([every, every_label]).astype(int).tolist()))
    assert received == expected


def test_stratified():
    train, test = (np.bincount(load_digits(split)[1], minlength=10) for split in ("train", "test"))
    share = 360 / 1797
    assert np.abs(test - share * (train + test)).max() < 1


def test_every_call_returns_the_same():
    for first, second in zip(load_digits("test"), load_digits("test"), strict=True):
        np.testing.assert_array_equal(first, second)


PARTS = [
    "train[:80%]", "train[80%:]", "train[10%:45%]", "train[:-20%]", "train[-20%:]", "test[:33%]",
    "test[100:]", "train[:1437]", "test[-60:]", "test[-60:-1]",
]  # fmt: skip


@pytest.mark.parametrize("split", PARTS)
def test_parts_have_the_sizes_that_tfds_gives_them(split):
    import tensorflow_datasets as tfds

    infos = {
        name: tfds.core.SplitInfo(
            name=name, shard_lengths=[count], num_bytes=0, filename_template=None
        )
        for name, count in (("train", 1437), ("test", 360))
    }
    (absolute,) = tfds.core.ReadInstruction.from_spec(split).to_absolute(infos)
    count = infos[absolute.splitname].num_examples
    expected = len(range(count)[absolute.from_ : absolute.to])
    assert len(load_digits(split)[1]) == expected


@pytest.mark.parametrize("percent", [1, 37, 80])
def test_two_parts_partition_a_split_and_are_stratified(percent):
    images, labels = load_digits("train")
    parts = [load_digits(f"train[{part}]") for part in (f":{percent}%", f"{percent}%:")]
    received = np.concatenate([np.column_stack([x.reshape(-1, 64), y]) for x, y in parts])
    expected = np.column_stack([images.reshape(-1, 64), labels])
    assert sorted(map(tuple, received.tolist())) == sorted(map(tuple, expected.tolist()))
    share = len(parts[0][1]) / 1437
    first = np.bincount(parts[0][1], minlength=10)
    assert np.abs(first - share * np.bincount(labels)).max() <= 1


@pytest.mark.parametrize(
    ("split", "message"),
    [
        ("validation", "expected 'train' or 'test', or a part of one like 'train[:80%]', "
         "received 'validation'"),
        ("train[80%]", "expected 'train' or 'test', or a part of one like 'train[:80%]', "
         "received 'train[80%]'"),
        ("train[:0]", "expected some images, received the empty 'train[:0]'"),
        ("test[:361]", "expected a part of 360 images, received 'test[:361]'"),
        ("test[:101%]", "expected a part of 360 images, received 'test[:101%]'"),
    ],
)  # fmt: skip
def test_splits_that_are_not_usable(split, message):
    with pytest.raises(UserError) as error:
        load_digits(split)
    assert str(error.value) == f"digits: split: {message}"
