"""Loads the handwritten digits that scikit-learn ships: a data set that is always available."""

import re

import numpy as np

from lbkeras.errors import UserError

NUM_TEST = 360
SPLIT_SEED = 0

_SPLIT = re.compile(r"(train|test)(?:\[(-?\d+%?)?:(-?\d+%?)?\])?")


def load_digits(split="train"):
    """Loads scikit-learn's handwritten digits: 1,797 gray images of 8 by 8 pixels in 10 classes.

    The split is fixed and stratified: every class has its share of the 360 test images and, to
    within one image, of each part of a split. Parts are written and rounded as in TensorFlow
    Datasets: `"train[:80%]"` and `"train[80%:]"` do not overlap and together make up `"train"`.

    Args:
        split: `"train"` (1,437 images), `"test"` (360), or a slice of one in images or percent,
            negative from the end: `"train[:80%]"` (1,150 images), `"test[-60:]"`.

    Returns:
        `(images, labels)`: uint8 `(num_examples, 8, 8, 1)` with values 0 to 16, int64
        `(num_examples,)`.

    Raises:
        UserError: an unknown or empty split, or a part that extends beyond it.

    Example:

    >>> images, labels = load_digits("test")
    >>> images.shape, images.dtype.name, int(images.max())
    ((360, 8, 8, 1), 'uint8', 16)

    Reference: Alpaydin, Kaynak, "Optical Recognition of Handwritten Digits", UCI Machine Learning
    Repository (1998); scikit-learn ships its test set.
    """
    match = _SPLIT.fullmatch(split)
    if not match:
        raise UserError(f"digits: split: expected 'train' or 'test', or a part of one like "
                        f"'train[:80%]', received {split!r}")  # fmt: skip
    from sklearn.datasets import load_digits as sklearn_digits  # seconds to import
    from sklearn.model_selection import train_test_split

    images, labels = sklearn_digits(return_X_y=True)
    images = images.astype(np.uint8).reshape(-1, 8, 8, 1)
    rows = train_test_split(
        np.arange(len(labels)), test_size=NUM_TEST, stratify=labels, random_state=SPLIT_SEED
    )[match[1] == "test"]
    if match[0] != match[1]:
        first, last = (_edge(split, edge, len(rows)) for edge in match.group(2, 3))
        rows = rows[_interleaved(labels[rows])][first:last]
        if not len(rows):
            raise UserError(f"digits: split: expected some images, received the empty {split!r}")
    return images[rows], labels[rows].astype(np.int64)


def _edge(split: str, edge: str | None, num_examples: int) -> int | None:
    """Returns where a part begins or ends, in images; None: where the split does."""
    if edge is None:
        return None
    number = int(edge.removesuffix("%"))
    if edge.endswith("%"):
        number = round(number * num_examples / 100)
    if abs(number) > num_examples:
        raise UserError(f"digits: split: expected a part of {num_examples} images, received "
                        f"{split!r}")  # fmt: skip
    return number


def _interleaved(labels):
    """Returns an order in which each class is spread evenly."""
    place = np.empty(len(labels))
    for label in np.unique(labels):
        rows = np.flatnonzero(labels == label)
        place[rows] = (np.arange(len(rows)) + 0.5) / len(rows)
    return np.argsort(place, kind="stable")
