"""The CIFAR augmentation on TensorFlow: `lbkeras.data.augmentation.random_crop_flip`."""

import tensorflow as tf


def crop_flip(images, padding, seed):
    """Pads images with zeros, crops them back at random and mirrors half of them."""
    static_shape = images.shape
    _, height, width, channels = static_shape
    num_images = static_shape[0] if static_shape[0] is not None else tf.shape(images)[0]
    row_offset, column_offset, mirrored = crop_flip_draws(num_images, padding, seed)

    # One flat gather of pixels; mirroring only changes the column index. Tried and slower:
    # gathering rows, then columns; ImageProjectiveTransformV3; a table of indices; a ragged
    # gather of rows. Padding (height, width * channels) is faster than padding 4 axes.
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


def crop_flip_draws(num_images, padding, seed):
    """Draws the random choices of `random_crop_flip`: one number per image encodes all three.

    Args:
        num_images: number of images.
        padding: in pixels; offsets are 0 to `2 * padding`.
        seed: two integers.

    Returns:
        `(row_offset, column_offset, mirrored)`: int32, int32, bool, each `(num_images,)`.
    """
    offsets = 2 * padding + 1
    draw = tf.random.stateless_uniform(
        [num_images], seed, maxval=2 * offsets**2, dtype=tf.int32, minval=0, alg="philox"
    )
    return draw // (2 * offsets), draw // 2 % offsets, draw % 2 == 1
