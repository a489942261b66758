"""Decodes and crops photographs like `lbkeras.data.imagenet`, without TensorFlow.

`decode(element, seed)` maps `(encoded, label)`, bytes and a number, to `(image, label)`, image
uint8 `(size, size, 3)`. For PNG images, `center_crop` gives the same pixels as with TensorFlow. Of
JPEG images TensorFlow decodes only the crop, with a faster, less accurate transform.
"""

from collections.abc import Callable, Sequence

import numpy as np

from lbkeras.data.decode_image import decode_image

_ATTEMPTS = 10


def center_crop(size: int = 224, resize: int = 256) -> Callable:
    """Returns ImageNet's evaluation crop: the central square after resizing the shorter side.

    This takes one crop and one resize, as in `lbkeras.data.imagenet.center_crop`.

    Args:
        size: side of the result in pixels. Default 224.
        resize: length to which the shorter side would be resized first, at least `size`.
            Default 256.

    Returns:
        `decode(element, seed=None)`.

    Raises:
        ValueError: `resize` smaller than `size`; from `decode`, a damaged image.
    """
    if resize < size:
        raise ValueError(f"resize: expected at least size ({size}), received {resize}.")

    def decode(element, seed=None):
        encoded, label = element
        image = decode_image(encoded)
        height, width, _ = image.shape
        shorter = np.float32(min(height, width))
        side = max(1, int(np.rint(shorter * np.float32(size / resize))))
        top, left = (height - side) // 2, (width - side) // 2
        return resized(image[top : top + side, left : left + side], size), label

    return decode


def random_resized_crop(
    size: int = 224,
    area: tuple[float, float] = (0.08, 1.0),
    aspect: tuple[float, float] = (3 / 4, 4 / 3),
) -> Callable:
    """Returns ImageNet's training crop: a random rectangle as a square, mirrored half the time.

    The distribution is that of `lbkeras.data.imagenet.random_resized_crop`, but the draws differ:
    they come from a NumPy generator seeded with `seed`.

    Args:
        size: side of the result in pixels. Default 224.
        area: `(smallest, largest)` fraction of the image. Default (0.08, 1).
        aspect: `(smallest, largest)` width over height. Default (3/4, 4/3).

    Returns:
        `decode(element, seed)`: seed integers, at least 0; the result depends only on these two.

    Raises:
        ValueError: from `decode`, a damaged image.

    Reference: Szegedy et al., "Going Deeper with Convolutions", arXiv:1409.4842, section 6;
    Goyal et al., arXiv:1706.02677, section 5.1.
    """

    def decode(element, seed: Sequence[int]):
        encoded, label = element
        random = np.random.default_rng([int(each) for each in seed])
        image = decode_image(encoded)
        height, width, _ = image.shape
        top, left, height, width = random_window(height, width, random, area, aspect)
        image = resized(image[top : top + height, left : left + width], size)
        return (image[:, ::-1] if random.integers(2) else image), label

    return decode


def random_window(
    height: int,
    width: int,
    random: np.random.Generator,
    area: tuple[float, float] = (0.08, 1.0),
    aspect: tuple[float, float] = (3 / 4, 4 / 3),
) -> tuple[int, int, int, int]:
    """Draws `(top, left, height, width)` of a random rectangle in an image.

    The aspect ratio is uniform on `aspect`. The height is uniform between the heights at which the
    rectangle covers the smallest and the largest fraction `area` of the image, or as much as fits.
    The position is uniform. After 10 attempts that miss `area` or do not fit, the rectangle is the
    whole image.
    """
    least, most = (share * height * width for share in area)
    for _ in range(_ATTEMPTS):
        ratio = random.uniform(*aspect)
        highest = min(round(np.sqrt(most / ratio)), height, int((width + 0.5 - 1e-7) / ratio))
        lowest = min(round(np.sqrt(least / ratio)), highest)
        high = int(random.integers(lowest, highest, endpoint=True))
        wide = round(high * ratio)
        if high * wide < least:  # due to rounding
            high, wide = high + 1, round((high + 1) * ratio)
        elif high * wide > most:
            high, wide = high - 1, round((high - 1) * ratio)
        if least <= high * wide <= most and 0 < high <= height and 0 < wide <= width:
            top = int(random.integers(max(1, height - high)))
            return top, int(random.integers(max(1, width - wide))), high, wide
    return 0, 0, height, width


def resized(image: np.ndarray, size: int) -> np.ndarray:
    """Resizes an image to a square, by bilinear interpolation between pixel centers.

    Args:
        image: uint8 `(height, width, channels)`.
        size: side of the result in pixels.
    """
    height, width, _ = image.shape
    above, below, down = _neighbors(height, size)
    left, right, across = _neighbors(width, size)
    # Interpolates the columns of each needed row once: fewer than two rows per row of the result.
    # Working in place and with `take` needs two thirds of the time of indexing.
    rows, places = np.unique(np.concatenate([above, below]), return_inverse=True)
    needed = image[rows]
    lines = np.take(needed, left, axis=1).astype(np.float32)
    lines += (np.take(needed, right, axis=1) - lines) * across[None, :, None]
    top = np.take(lines, places[:size], axis=0)
    mean = np.take(lines, places[size:], axis=0)
    mean -= top
    mean *= down[:, None, None]
    mean += top
    return np.rint(mean, out=mean).astype(np.uint8)


def _neighbors(length: int, size: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """For each pixel of the result, the pixels on both sides and its distance from the first."""
    scale = np.float32(length) / np.float32(size)
    places = (np.arange(size, dtype=np.float32) + np.float32(0.5)) * scale - np.float32(0.5)
    floor = np.floor(places)
    first = np.maximum(floor, 0).astype(np.int64)
    last = np.minimum(np.ceil(places), length - 1).astype(np.int64)
    return first, last, places - floor
