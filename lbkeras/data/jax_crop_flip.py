"""The CIFAR augmentation on JAX: `lbkeras.data.augmentation.random_crop_flip`."""

import jax.numpy as jnp

from lbkeras.data.philox import philox_integers


def crop_flip(images, padding, seed):
    """Pads images with zeros, crops them back at random and mirrors half of them."""
    number, height, width, _ = images.shape
    row_offset, column_offset, mirrored = crop_flip_draws(number, padding, seed)
    rows = jnp.arange(height) + row_offset[:, None]
    columns = jnp.arange(width)
    columns = jnp.where(mirrored[:, None], width - 1 - columns, columns) + column_offset[:, None]
    padded = jnp.pad(images, ((0, 0), (padding, padding), (padding, padding), (0, 0)))
    places = jnp.arange(number)[:, None, None], rows[:, :, None], columns[:, None, :]
    return padded.at[places].get(mode="promise_in_bounds")


def crop_flip_draws(num_images, padding, seed):
    """Draws the same numbers as `lbkeras.data.tensorflow_crop_flip.crop_flip_draws`."""
    offsets = 2 * padding + 1
    draw = philox_integers(num_images, 2 * offsets**2, seed, jnp)
    return draw // (2 * offsets), draw // 2 % offsets, draw % 2 == 1
