import numpy as np
import pytest
import tensorflow as tf
from scipy import stats

from lbkeras.data import augmentation, tensorflow_crop_flip


def random_images(shape, seed=0):
    return np.random.default_rng(seed).integers(1, 256, shape, dtype=np.uint8)


def reference(images, padding, row_offset, column_offset, mirrored):
    """Pads, crops and mirrors one image at a time."""
    _, height, width, _ = images.shape
    padded = np.pad(images, ((0, 0), (padding, padding), (padding, padding), (0, 0)))
    out = []
    for image, row, column, mirror in zip(padded, row_offset, column_offset, mirrored, strict=True):
        crop = image[row : row + height, column : column + width]
        out.append(np.fliplr(crop) if mirror else crop)
    return np.stack(out)


@pytest.mark.parametrize(
    "shape, padding",
    [
        ((64, 32, 32, 3), 4),
        ((5, 8, 8, 1), 2),
        ((7, 6, 11, 3), 3),
        ((4, 5, 5, 2), 0),
        ((1, 4, 4, 3), 9),
    ],
)
def test_equals_the_reference_with_the_same_draws(shape, padding):
    images, seed = random_images(shape), (3, 4)
    draws = [d.numpy() for d in tensorflow_crop_flip.crop_flip_draws(shape[0], padding, seed)]
    received = augmentation.random_crop_flip(padding)(tf.constant(images), seed)
    assert received.dtype == tf.uint8
    np.testing.assert_array_equal(received, reference(images, padding, *draws))


def test_draws_are_uniform_and_independent():
    count, padding = 40_000, 4
    row, column, mirrored = (
        d.numpy() for d in tensorflow_crop_flip.crop_flip_draws(count, padding, (1, 2))
    )
    joint = np.bincount((row * 9 + column) * 2 + mirrored, minlength=162)
    assert len(joint) == 162
    # Uniform on all 162 combinations: every marginal is uniform, and all three are independent.
    assert stats.chisquare(joint).pvalue > 1e-3


def test_images_differ_within_a_batch_and_between_seeds():
    images = np.repeat(random_images((1, 32, 32, 3)), 64, axis=0)
    augment = augmentation.random_crop_flip()
    first, again, other = (
        augment(images_, seed).numpy()
        for images_, seed in (
            (tf.constant(images), (0, 1)),
            (tf.constant(images), (0, 1)),
            (tf.constant(images), (0, 2)),
        )
    )
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()
    # 64 draws from 162: 53 different ones are expected, 40 is ten standard deviations below.
    assert len(np.unique(first.reshape(64, -1), axis=0)) > 40


def test_in_a_pipeline_keeps_the_static_shape_and_any_batch():
    images = random_images((10, 8, 8, 3))
    augment = augmentation.random_crop_flip(1)
    dataset = tf.data.Dataset.from_tensor_slices(images)
    static = dataset.batch(5, drop_remainder=True).map(lambda x: augment(x, tf.constant([0, 1])))
    assert static.element_spec.shape == (5, 8, 8, 3)
    dynamic = dataset.batch(4).map(lambda x: augment(x, tf.constant([0, 1])))
    assert dynamic.element_spec.shape.as_list() == [None, 8, 8, 3]
    assert [len(x) for x in dynamic] == [4, 4, 2]
    # The same seed and images: the batch's size does not matter to the first images.
    np.testing.assert_array_equal(next(iter(static))[0], next(iter(dynamic))[0])


def test_none_is_the_identity():
    images = tf.constant(random_images((2, 4, 4, 1)))
    np.testing.assert_array_equal(augmentation.none()(images, (0, 1)), images)


def test_negative_padding():
    with pytest.raises(ValueError, match="padding: expected 0 or more pixels, received -1"):
        augmentation.random_crop_flip(-1)
