"""Decodes and crops photographs of any size, for ImageNet-like sets: encoded in, uint8 out.

`decode(element, seed)` runs on single elements in a tf.data `map`, before batching. Of a JPEG only
the blocks that the crop touches are decoded. If the file halves the color resolution, libjpeg then
interpolates color slightly differently in the first and last column of the crop.
"""

import tensorflow as tf


def random_resized_crop(size=224, area=(0.08, 1.0), aspect=(3 / 4, 4 / 3)):
    """Returns ImageNet's training crop: a random rectangle as a square, mirrored half the time.

    The aspect ratio (width over height) is uniform on `aspect`. The height of the rectangle is then
    uniform between the heights at which it covers the smallest and the largest fraction `area` of
    the image, or as much as fits. The area is therefore not uniform: small ones are more frequent.
    After 10 failed attempts the rectangle is the whole image.

    Args:
        size: side of the result in pixels. Default 224.
        area: `(smallest, largest)` fraction of the image. Default (0.08, 1).
        aspect: `(smallest, largest)` width over height. Default (3/4, 4/3).

    Returns:
        `decode(element, seed)`: element `(encoded, label)` with a string scalar that holds a JPEG
        (gray, color or CMYK) or anything `tf.io.decode_image` reads; seed two integers. It returns
        `(image, label)`, image uint8 `(size, size, 3)`.

    Differs from the paper: there the area is uniform; here the height and the aspect ratio are, as
    in TensorFlow's reference code. PyTorch draws the area and the aspect ratio's logarithm
    uniformly.

    Example:

    >>> decode = random_resized_crop(size=32)
    >>> jpeg = tf.io.encode_jpeg(tf.zeros((40, 50, 3), tf.uint8))
    >>> image, label = decode((jpeg, 7), seed=(0, 1))
    >>> image.shape, label
    (TensorShape([32, 32, 3]), 7)

    Reference: Szegedy et al., "Going Deeper with Convolutions", arXiv:1409.4842, section 6;
    Goyal et al., arXiv:1706.02677, section 5.1.
    """

    def decode(element, seed):
        encoded, label = element
        seeds = tf.random.split(seed, 2)

        def window(height, width):
            begin, extent, _ = tf.image.stateless_sample_distorted_bounding_box(
                tf.stack([height, width, 3]),
                bounding_boxes=tf.zeros([1, 0, 4]),
                seed=seeds[0],
                min_object_covered=0.0,
                aspect_ratio_range=aspect,
                area_range=area,
                max_attempts=10,
                use_image_if_no_bounding_boxes=True,
            )
            return tf.stack([begin[0], begin[1], extent[0], extent[1]])

        image = _resize(decode_window(encoded, window), size)
        mirrored = tf.random.stateless_uniform([], seeds[1], 0, 2, tf.int32) == 1
        return tf.cond(mirrored, lambda: tf.reverse(image, [1]), lambda: image), label

    return decode


def center_crop(size=224, resize=256):
    """Returns ImageNet's evaluation crop: the central square after resizing the shorter side.

    This takes one crop and one resize: only the central square, whose side is `size / resize` times
    the image's shorter side, is decoded and resized.

    Args:
        size: side of the result in pixels. Default 224.
        resize: length to which the shorter side would be resized first, at least `size`.
            Default 256.

    Returns:
        `decode(element, seed=None)` as in `random_resized_crop`, without randomness.

    Raises:
        ValueError: `resize` smaller than `size`.

    Example:

    >>> decode = center_crop(size=28, resize=32)
    >>> jpeg = tf.io.encode_jpeg(tf.zeros((40, 50, 3), tf.uint8))
    >>> decode((jpeg, 7))[0].shape
    TensorShape([28, 28, 3])
    """
    if resize < size:
        raise ValueError(f"resize: expected at least size ({size}), received {resize}.")

    def window(height, width):
        shorter = tf.cast(tf.minimum(height, width), tf.float32)
        side = tf.maximum(1, tf.cast(tf.round(shorter * (size / resize)), tf.int32))
        return tf.stack([(height - side) // 2, (width - side) // 2, side, side])

    def decode(element, seed=None):
        encoded, label = element
        return _resize(decode_window(encoded, window), size), label

    return decode


def decode_window(encoded, window):
    """Decodes the part of an encoded image that `window` selects, in color.

    Args:
        encoded: string scalar, JPEG or another format of `tf.io.decode_image`.
        window: function from `(height, width)` to an int32 tensor `(top, left, height, width)`.

    Returns:
        uint8 `(height, width, 3)`. Other formats than JPEG, such as ImageNet's few PNG files named
        JPEG, are decoded whole and then cropped.
    """

    def from_jpeg():
        shape = tf.image.extract_jpeg_shape(encoded)
        return tf.io.decode_and_crop_jpeg(encoded, window(shape[0], shape[1]), channels=3)

    def from_other():
        image = tf.io.decode_image(encoded, channels=3, expand_animations=False)
        shape = tf.shape(image)
        top, left, height, width = tf.unstack(window(shape[0], shape[1]))
        return image[top : top + height, left : left + width]

    image = tf.cond(tf.io.is_jpeg(encoded), from_jpeg, from_other)
    return tf.ensure_shape(image, [None, None, 3])


def _resize(image, size):
    image = tf.image.resize(image, [size, size], method="bilinear")
    # A bilinear mean of 0 to 255 stays there: rounding needs no clipping.
    return tf.cast(tf.round(image), tf.uint8)
