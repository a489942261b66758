"""Loads data sets by name, as pipelines."""

import functools
import os
from pathlib import Path

from lbkeras import checks
from lbkeras.data.numpy_sets import PreparedSet, describe_set, load_set
from lbkeras.data.order import SHARDS
from lbkeras.data.pipeline import Pipeline
from lbkeras.data.text import describe_text, is_text, load_text
from lbkeras.errors import UserError
from lbkeras.keras_internals.backend import on_jax

_CIFAR = ("cifar10", "cifar100")


def load(
    name: str,
    split: str = "train",
    batch_size: int = 32,
    *,
    data_dir: str | None = None,
    training: bool | None = None,
    augmentation: str = "default",
    seed: int = 0,
    image_size: int | None = None,
    resize: int | None = None,
    shuffle: str = "default",
    shuffle_bytes: int = 1 << 30,
    source: object = None,
) -> Pipeline:
    """Loads a data set as a Pipeline of `(image, label)`, the images uint8.

    A text file gives `(tokens, next_tokens)` instead (`lbkeras.data.text.load_text`). On Keras' JAX
    backend the files are read without TensorFlow and TensorFlow Datasets (TFDS).

    Args:
        name: "digits" (scikit-learn's, needs no files); any image-classification set of TFDS
            ("mnist", "cifar10", "imagenet2012", ...) that has been prepared; or a text file in
            `data_dir`, "NAME.txt" or "NAME.txt:WINDOW" (characters per example).
        split: "train", "test", another split of the set, or a part, in TFDS' notation:
            "validation", "train[:80%]", ...
        batch_size: global batch size in examples.
        data_dir: the folder of prepared TFDS data, or of the text file; None: TFDS' own default,
            or the current folder.
        training: whether to shuffle and augment. None: True if the split begins with "train".
        augmentation: "default": as in the papers, in training only (CIFAR: pad 4, random crop,
            flip; sets that stay on disk, such as ImageNet: random area and aspect ratio, flip;
            others: none), or "none".
        seed: seed for the order and the augmentation.
        image_size: side of the square images in pixels, for a set that stays on disk; None: 224.
            Sets in memory and texts have a size of their own.
        resize: for such a set in evaluation, length in pixels that an image's shorter side is
            resized to before its central square of side `image_size` is taken; None:
            `image_size / 0.875`, which is 256 for 224.
        shuffle: how a set that stays on disk is read in training: "default", single examples in
            random order; or "shards", for storage that reads single examples slowly (see
            `Pipeline`).
        shuffle_bytes: with "shards", host memory in bytes for the examples that are permuted
            together and the next ones. Default 1 GiB.
        source: data to use in place of the set's files, in the same form, such as made data.

    Raises:
        UserError: unknown set or split, a set that is not on disk, an empty split, an image size or
            "shards" for a set in memory or a text, a `resize` below `image_size`, a damaged file or
            label. In a set in memory all damage is found; in a larger one missing and short files,
            damaged record lengths and damage in the first examples.

    >>> load("digits", "test", batch_size=100).steps_per_epoch
    4
    """
    for key, value in (("name", name), ("split", split)):
        if not isinstance(value, str):
            raise UserError(f"{key}: expected a string, received {value!r}")
    if augmentation not in ("default", "none"):
        raise UserError(f'augmentation: expected "default" or "none", received {augmentation!r}')
    if training not in (True, False, None):
        raise UserError(f"training: expected True, False or None, received {training!r}")
    checks.choice("shuffle", shuffle, ("default", SHARDS))
    data_dir = _folder(data_dir)
    training = split.startswith("train") if training is None else training
    augmented = training and augmentation == "default"
    source = _source(name, split, data_dir) if source is None else source
    augment = decode = None
    if not isinstance(source, tuple):
        if on_jax():
            from lbkeras.data.numpy_photographs import center_crop, random_resized_crop
        else:
            from lbkeras.data.imagenet import center_crop, random_resized_crop

        sizes = image_sizes(image_size, resize)
        decode = random_resized_crop(sizes[0]) if augmented else center_crop(*sizes)
        if isinstance(source, PreparedSet) and not augmented:
            source, decode = source.decoded(decode), None
    else:
        _refuse_sizes(name, image_size=image_size, resize=resize)
    if isinstance(source, tuple) and augmented and name in _CIFAR:
        from lbkeras.data.augmentation import random_crop_flip

        augment = random_crop_flip()
    try:
        return Pipeline(
            source,
            batch_size,
            shuffle=SHARDS if training and shuffle == SHARDS else training,
            augment=augment,
            decode=decode,
            seed=seed,
            shuffle_bytes=shuffle_bytes,
        )
    except UserError as error:
        if error.key not in ("source", "decode"):
            raise
        raise UserError(f"data set {name!r}: {error.said}") from error


def image_sizes(image_size: int | None = None, resize: int | None = None) -> tuple[int, int]:
    """Returns the image side of a set on disk, and the shorter side that evaluation resizes to.

    >>> image_sizes(), image_sizes(299), image_sizes(64, 64)
    ((224, 256), (299, 342), (64, 64))

    Raises:
        UserError: as `load`.
    """
    size = 224 if image_size is None else checks.integer("image_size", image_size, minimum=1)
    if resize is None:
        return size, round(size / 0.875)
    return size, checks.integer("resize", resize, minimum=size)


def _refuse_sizes(name: str, **sizes) -> None:
    for key, value in sizes.items():
        if value is not None:
            raise UserError(
                f"{key}: expected none, as {name!r} is not an image set that stays on disk, "
                f"received {value!r}"
            )


def describe(name: str, data_dir: str | None = None) -> str:
    """Returns one line about where a data set comes from, in the set's own words, for records.

    Raises:
        UserError: unknown set, or a set that is not on disk.
    """
    data_dir = _folder(data_dir)
    if name == "digits":
        return (
            "scikit-learn's handwritten digits, 1,797 images of 8x8 pixels, embedded; split here "
            "into 1,437 for training and 360 for testing"
        )
    if is_text(name):
        return describe_text(name, data_dir)
    if on_jax():
        return describe_set(name, data_dir)
    from lbkeras.data.images import describe_images

    return describe_images(name, data_dir)


def _folder(data_dir) -> str | None:
    """Returns `data_dir` as a string; refuses what is not a folder, but not a missing one."""
    if data_dir is None:
        return None
    if not isinstance(data_dir, str | os.PathLike) or Path(data_dir).expanduser().is_file():
        raise UserError(f"data_dir: expected a folder, received {data_dir!r}")
    return os.fspath(data_dir)


@functools.lru_cache(maxsize=4)
def _source(name: str, split: str, data_dir: str | None):
    """Returns what `load` reads from disk; kept for the next run in the same process."""
    if name == "digits":
        from lbkeras.data.digits import load_digits

        return load_digits(split)
    if is_text(name):
        return load_text(name, split, data_dir)
    if on_jax():
        return load_set(name, split, data_dir)
    from lbkeras.data.images import load_images

    return load_images(name, split, data_dir)
