"""The handwritten digits that scikit-learn ships: the data set that is always there."""

import numpy as np

from lbkeras.errors import UserError

NUM_TEST = 360
SPLIT_SEED = 0


def load_digits(split="train"):
    """The handwritten digits of scikit-learn, 1,797 gray images of 8 by 8 pixels in 10 classes.

    The split is fixed and stratified: every class has its share of the 360 test images.

    Args:
        split: `"train"` (1,437 images) or `"test"` (360).

    Returns:
        `(images, labels)`: uint8 `(num_examples, 8, 8, 1)` with values 0 to 16, int64
        `(num_examples,)`.

    Raises:
        UserError: an unknown split.

    Example:

    >>> images, labels = load_digits("test")
    >>> images.shape, images.dtype.name, int(images.max())
    ((360, 8, 8, 1), 'uint8', 16)

    Reference: Alpaydin, Kaynak, "Optical Recognition of Handwritten Digits", UCI Machine Learning
    Repository (1998); scikit-learn has its test set.
    """
    if split not in ("train", "test"):
        raise UserError(f"digits: split: expected 'train' or 'test', received {split!r}.")
    from sklearn.datasets import load_digits as sklearn_digits  # seconds to import
    from sklearn.model_selection import train_test_split

    images, labels = sklearn_digits(return_X_y=True)
    images = images.astype(np.uint8).reshape(-1, 8, 8, 1)
    rows = train_test_split(
        np.arange(len(labels)), test_size=NUM_TEST, stratify=labels, random_state=SPLIT_SEED
    )[split == "test"]
    return images[rows], labels[rows].astype(np.int64)
