"""Augmentation of whole batches, uint8 in and out, a pure function of `(images, seed)`.

`augment(images, seed)` runs inside a tf.data `map` after batching. A batch at a time beats an image
at a time several times over, and uint8 beats float32: normalisation belongs to the model.
"""

import tensorflow as tf


def none():
    """No augmentation: `augment(images, seed)` returns `images`.

    Example:

    >>> augment = none()
    >>> augment(tf.ones((2, 28, 28, 1), tf.uint8), seed=(0, 1)).shape
    TensorShape([2, 28, 28, 1])
    """
    return lambda images, seed: images


def random_crop_flip(padding=4):
    """The CIFAR augmentation: pad with zeros, crop back at random, mirror half of the images.

    Every image has its own offsets, uniform on `0 ... 2 * padding` in each direction, and its own
    coin: `output[i, r, c] = padded[i, r + row_offset[i], column[i, c] + column_offset[i]]` with
    `column[i, c]` either `c` or, mirrored, `width - 1 - c`. The draws are
    `crop_flip_draws(num_images, padding, seed)`.

    Args:
        padding: zero pixels on each of the four sides; 0 only mirrors. Default 4.

    Returns:
        `augment(images, seed)`: images uint8 (any dtype works) `(batch, height, width, channels)`,
        the last three static; seed two integers. The result has the same shape and dtype and
        depends on nothing else.

    Cost: 200,000 to 350,000 images of 32 by 32 by 3 a second on two cores (`tools/bench_data.py`).

    Example:

    >>> augment = random_crop_flip(padding=4)
    >>> augment(tf.ones((2, 32, 32, 3), tf.uint8), seed=(0, 1)).shape
    TensorShape([2, 32, 32, 3])

    Reference: He et al., "Deep Residual Learning for Image Recognition", arXiv:1512.03385,
    section 4.2.
    """
    if padding < 0:
        raise ValueError(f"padding: expected 0 or more pixels, received {padding}.")

    def augment(images, seed):
        static_shape = images.shape
        _, height, width, channels = static_shape
        num_images = static_shape[0] if static_shape[0] is not None else tf.shape(images)[0]
        row_offset, column_offset, mirrored = crop_flip_draws(num_images, padding, seed)

        # One flat gather of pixels; the mirror image is only another column index. Tried and
        # slower: gathering rows, then columns; ImageProjectiveTransformV3; a table of indices; a
        # ragged gather of rows. Padding (height, width * channels) is faster than 4 axes.
        padded_height, padded_width = height + 2 * padding, width + 2 * padding
        rows = tf.reshape(images, [num_images, height, width * channels])
        edge = padding * channels
        padded = tf.pad(rows, [[0, 0], [padding, padding], [edge, edge]])

        first_row = tf.range(num_images) * padded_height + row_offset
        row = (first_row[:, None] + tf.range(height)) * padded_width
        column = tf.range(width)
        column = tf.where(mirrored[:, None], width - 1 - column, column) + column_offset[:, None]
        pixels = row[:, :, None] + column[:, None, :]
        cropped = tf.gather(tf.reshape(padded, [-1, channels]), pixels)
        return tf.ensure_shape(cropped, static_shape)

    return augment


def crop_flip_draws(num_images, padding, seed):
    """The random choices of `random_crop_flip`: one number an image holds all three.

    Args:
        num_images: how many.
        padding: pixels; offsets are 0 to `2 * padding`.
        seed: two integers.

    Returns:
        `(row_offset, column_offset, mirrored)`: int32, int32, bool, each `(num_images,)`.
    """
    offsets = 2 * padding + 1
    draw = tf.random.stateless_uniform(
        [num_images], seed, maxval=2 * offsets**2, dtype=tf.int32, minval=0, alg="philox"
    )
    return draw // (2 * offsets), draw // 2 % offsets, draw % 2 == 1
