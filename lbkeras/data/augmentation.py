"""Augments whole batches, uint8 in and out, as a pure function of `(images, seed)`.

`augment(images, seed)` runs after batching, inside a tf.data `map` or jitted on the device. This is
several times as fast as one image at a time, and uint8 is faster than float32, so normalization
belongs in the model.
"""

from lbkeras.data.arrays import is_jax_array


def none():
    """Returns an `augment(images, seed)` that returns `images` unchanged.

    Example:

    >>> import numpy as np
    >>> augment = none()
    >>> augment(np.ones((2, 28, 28, 1), np.uint8), seed=(0, 1)).shape
    (2, 28, 28, 1)
    """
    return lambda images, seed: images


def random_crop_flip(padding=4):
    """Pads images with zeros, crops them back at random and mirrors half of them, as for CIFAR.

    Every image has its own offsets, uniform on `0 ... 2 * padding` in each direction, and its own
    coin flip:
    `output[i, r, c] = padded[i, r + row_offset[i], column[i, c] + column_offset[i]]` with
    `column[i, c]` either `c` or, mirrored, `width - 1 - c`. The draws come from
    `crop_flip_draws(num_images, padding, seed)` and are the same on TensorFlow and JAX.

    Args:
        padding: pixels of zeros on each of the four sides; 0: mirror only. Default 4.

    Returns:
        `augment(images, seed)`: images uint8 (any dtype works) `(batch, height, width, channels)`,
        the last three static, as a TensorFlow tensor or a JAX array; seed two integers. The result
        has the same shape and dtype and depends on nothing but these two.

    Cost: 200,000 to 350,000 images of 32x32x3 per second on two cores (`tools/bench_data.py`).

    Example:

    >>> import tensorflow as tf
    >>> augment = random_crop_flip(padding=4)
    >>> augment(tf.ones((2, 32, 32, 3), tf.uint8), seed=(0, 1)).shape
    TensorShape([2, 32, 32, 3])

    Reference: He et al., "Deep Residual Learning for Image Recognition", arXiv:1512.03385,
    section 4.2.
    """
    if padding < 0:
        raise ValueError(f"padding: expected 0 or more pixels, received {padding}.")

    def augment(images, seed):
        if is_jax_array(images):
            from lbkeras.data.jax_crop_flip import crop_flip
        else:
            from lbkeras.data.tensorflow_crop_flip import crop_flip
        return crop_flip(images, padding, seed)

    return augment
