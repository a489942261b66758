import numpy as np
import pytest
import tensorflow as tf
from scipy import stats

from lbkeras.data import imagenet, numpy_photographs
from tests.data.decode_image_test import photograph

SIZES = [(224, 256), (28, 32), (32, 32), (1, 1)]


@pytest.mark.parametrize("shape", [(37, 50, 3), (61, 33, 3), (300, 271, 3), (5, 400, 1)])
def test_center_crops_of_png_equal_tensorflows_bit_for_bit(shape):
    encoded = tf.io.encode_png(photograph(*shape)).numpy()
    for sizes in SIZES:
        expected, _ = imagenet.center_crop(*sizes)((encoded, 7))
        image, label = numpy_photographs.center_crop(*sizes)((encoded, 7))
        np.testing.assert_array_equal(image, expected)
        assert (label, image.dtype) == (7, np.uint8)


def test_center_crops_of_jpeg_differ_only_by_tensorflows_fast_transform():
    encoded = tf.io.encode_jpeg(photograph(200, 171, 3), quality=90).numpy()
    for sizes in SIZES[:3]:
        expected, _ = imagenet.center_crop(*sizes)((encoded, 7))
        image, _ = numpy_photographs.center_crop(*sizes)((encoded, 7))
        apart = np.abs(image.astype(int) - expected.numpy())
        assert apart.mean() < 1.5 and apart.max() <= 10


def test_a_crop_larger_than_the_resized_image_is_refused():
    with pytest.raises(ValueError, match=r"resize: expected at least size \(32\), received 31"):
        numpy_photographs.center_crop(32, 31)


def test_windows_are_distributed_as_tensorflows():
    height, width, number = 90, 130, 2000
    ours = np.array(
        [
            numpy_photographs.random_window(height, width, np.random.default_rng([1, i]))
            for i in range(number)
        ]
    )

    def window(i):
        begin, extent, _ = tf.image.stateless_sample_distorted_bounding_box(
            [height, width, 3],
            tf.zeros([1, 0, 4]),
            tf.stack([i, i + 1]),
            min_object_covered=0.0,
            aspect_ratio_range=(3 / 4, 4 / 3),
            area_range=(0.08, 1.0),
            max_attempts=10,
            use_image_if_no_bounding_boxes=True,
        )
        return tf.concat([begin[:2], extent[:2]], 0)

    windows = tf.data.Dataset.range(number).map(window).batch(number)
    theirs = windows.get_single_element().numpy()
    top, left, high, wide = ours.T
    assert min(top.min(), left.min()) >= 0
    assert max(top + high) <= height and max(left + wide) <= width
    for of_window in (
        *(lambda each, i=i: each[:, i] for i in range(4)),
        lambda each: each[:, 2] * each[:, 3],
        lambda each: each[:, 3] / each[:, 2],
    ):
        assert stats.ks_2samp(of_window(ours), of_window(theirs)).pvalue > 0.001


def test_windows_of_narrow_images():
    random = np.random.default_rng(0)
    # No rectangle between 3/4 and 4/3 covers 80 % of a strip, so the whole strip is used.
    assert numpy_photographs.random_window(10, 90, random, (0.8, 1.0)) == (0, 0, 10, 90)
    for _ in range(200):
        top, left, high, wide = numpy_photographs.random_window(3, 2, random)
        assert 0 <= top <= 3 - high and 0 <= left <= 2 - wide and high > 0 and wide > 0


def test_random_crops_depend_only_on_their_seed():
    encoded = tf.io.encode_png(photograph(60, 50, 3)).numpy()
    decode = numpy_photographs.random_resized_crop(16)
    images = [decode((encoded, 7), np.array(seed, np.int32))[0] for seed in ((1, 2), (1, 3))]
    np.testing.assert_array_equal(decode((encoded, 7), (1, 2))[0], images[0])
    assert images[0].shape == (16, 16, 3) and not np.array_equal(*images)


def test_half_of_the_random_crops_are_mirrored():
    ramp = np.tile(np.arange(0, 250, 5, dtype=np.uint8)[None, :, None], (50, 1, 3))
    decode = numpy_photographs.random_resized_crop(8)
    encoded = tf.io.encode_png(ramp).numpy()
    crops = (decode((encoded, 7), (0, seed))[0] for seed in range(300))
    mirrored = sum(int(image[0, 0, 0]) > int(image[0, -1, 0]) for image in crops)
    assert stats.binomtest(mirrored, 300).pvalue > 0.001
