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


def test_the_same_at_every_call():
    for first, second in zip(load_digits("test"), load_digits("test"), strict=True):
        np.testing.assert_array_equal(first, second)


def test_unknown_split():
    with pytest.raises(UserError, match="expected 'train' or 'test', received 'validation'"):
        load_digits("validation")
