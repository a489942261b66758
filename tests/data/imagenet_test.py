import io

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from lbkeras.data import imagenet


def smooth_image(height, width, channels=3, seed=0):
    coarse = np.random.default_rng(seed).uniform(0, 255, (1, 6, 7, channels)).astype(np.float32)
    return tf.cast(tf.image.resize(coarse, [height, width])[0], tf.uint8).numpy()


def encode(image, format_name="JPEG", mode=None, subsampling=0):
    """Encodes an image; subsampling 0 keeps every pixel's color, 2 halves it both ways (4:2:0)."""
    buffer = io.BytesIO()
    picture = Image.fromarray(image if image.shape[-1] > 1 else image[..., 0])
    picture = picture.convert(mode) if mode else picture
    settings = {"quality": 95, "subsampling": subsampling} if format_name == "JPEG" else {}
    picture.save(buffer, format_name, **settings)
    return buffer.getvalue()


def draw_window(height, width, seed, area, aspect):
    """Draws the rectangle and the coin flip of a seed."""
    seeds = tf.random.split(seed, 2)
    begin, extent, _ = tf.image.stateless_sample_distorted_bounding_box(
        [height, width, 3],
        tf.zeros([1, 0, 4]),
        seeds[0],
        min_object_covered=0.0,
        area_range=area,
        aspect_ratio_range=aspect,
        max_attempts=10,
        use_image_if_no_bounding_boxes=True,
    )
    mirrored = tf.random.stateless_uniform([], seeds[1], 0, 2, tf.int32) == 1
    return begin.numpy()[:2], extent.numpy()[:2], bool(mirrored)


def resize(image, size):
    return tf.cast(tf.round(tf.image.resize(image, [size, size])), tf.uint8).numpy()


@pytest.mark.parametrize("format_name", ["JPEG", "PNG"])
def test_random_crop_equals_decode_then_crop(format_name):
    encoded = encode(smooth_image(75, 100), format_name)
    whole = tf.io.decode_image(encoded, channels=3).numpy()
    decode = imagenet.random_resized_crop(32)
    coins = []
    for i in range(20):
        (top, left), (height, width), mirrored = draw_window(
            75, 100, (5, i), (0.08, 1.0), (3 / 4, 4 / 3)
        )
        expected = resize(whole[top : top + height, left : left + width], 32)
        image, label = decode((tf.constant(encoded), i), (5, i))
        np.testing.assert_array_equal(image, expected[:, ::-1] if mirrored else expected)
        assert image.dtype == tf.uint8 and label == i
        coins.append(mirrored)
    assert 0 < sum(coins) < 20


def test_halved_color_differs_only_at_the_sides():
    """libjpeg interpolates halved color from neighboring pixels, which a crop's sides lack."""
    encoded = tf.constant(encode(smooth_image(75, 100), subsampling=2))
    whole = tf.io.decode_jpeg(encoded, channels=3).numpy()
    for top, left, height, width in ((0, 0, 75, 100), (10, 13, 40, 51), (35, 50, 40, 50)):
        crop = imagenet.decode_window(encoded, lambda *_, w=(top, left, height, width): tf.stack(w))
        difference = np.abs(
            crop.numpy().astype(int) - whole[top : top + height, left : left + width]
        )
        assert difference[:, 1:-1].max() == 0
        assert difference.max() <= 8


def test_windows_keep_area_and_aspect():
    encoded = tf.constant(encode(smooth_image(300, 400)))
    windows = []
    for i in range(200):
        _, (height, width), _ = draw_window(300, 400, (0, i), (0.25, 0.5), (0.5, 2.0))
        windows.append((height * width / 120_000, width / height))
    areas, aspects = np.array(windows).T
    # A pixel is 0.3 % of a side of 300, and sides are rounded.
    assert 0.24 < areas.min() < 0.28 and 0.47 < areas.max() < 0.51
    assert 0.49 < aspects.min() < 0.7 and 1.6 < aspects.max() < 2.02
    shape = imagenet.random_resized_crop(16, area=(0.25, 0.5))((encoded, 0), (0, 1))[0].shape
    assert shape == (16, 16, 3)


def test_a_whole_image_crop_is_a_resize():
    encoded = tf.constant(encode(smooth_image(40, 40)))
    decode = imagenet.random_resized_crop(24, area=(1.0, 1.0), aspect=(1.0, 1.0))
    expected = resize(tf.io.decode_jpeg(encoded, channels=3), 24)
    results = [decode((encoded, 0), (0, i))[0].numpy() for i in range(12)]
    unflipped = [np.array_equal(image, expected) for image in results]
    flipped = [np.array_equal(image, expected[:, ::-1]) for image in results]
    assert all(a != b for a, b in zip(unflipped, flipped, strict=True))
    assert any(unflipped) and any(flipped)


@pytest.mark.parametrize("height, width", [(64, 96), (96, 64), (64, 64), (63, 97)])
def test_center_crop_is_the_central_square(height, width):
    encoded = tf.constant(encode(smooth_image(height, width)))
    whole = tf.io.decode_jpeg(encoded, channels=3).numpy()
    side = round(min(height, width) * 28 / 32)
    top, left = (height - side) // 2, (width - side) // 2
    expected = resize(whole[top : top + side, left : left + side], 28)
    image, label = imagenet.center_crop(28, 32)((encoded, 3))
    np.testing.assert_array_equal(image, expected)
    assert label == 3


def test_center_crop_is_near_resize_then_crop():
    encoded = tf.constant(encode(smooth_image(64, 96)))
    whole = tf.image.resize(tf.io.decode_jpeg(encoded, channels=3), [32, 48]).numpy()
    image = imagenet.center_crop(28, 32)((encoded, 0))[0].numpy()
    # In a smooth image the two ways sample less than a pixel apart.
    assert np.abs(image - whole[2:30, 10:38]).mean() < 2


@pytest.mark.parametrize(
    "channels, arguments",
    [(1, {}), (3, {"mode": "CMYK"}), (1, {"format_name": "PNG"}), (4, {"format_name": "PNG"})],
    ids=["gray", "CMYK", "gray PNG", "PNG with alpha"],
)
def test_odd_formats_become_three_channels(channels, arguments):
    encoded = encode(smooth_image(40, 50, channels), **arguments)
    for decode in (imagenet.center_crop(16, 18), imagenet.random_resized_crop(16)):
        image, _ = decode((tf.constant(encoded), 0), (0, 1))
        assert image.shape == (16, 16, 3) and image.dtype == tf.uint8
    # The colors are kept, too.
    expected = np.asarray(Image.open(io.BytesIO(encoded)).convert("RGB"), np.float32)
    whole, _ = imagenet.center_crop(40, 40)((tf.constant(encoded), 0))
    assert np.abs(whole.numpy() - expected[:, 5:45]).mean() < 6


def test_tiny_images():
    encoded = tf.constant(encode(smooth_image(1, 3)))
    for decode in (imagenet.center_crop(8, 9), imagenet.random_resized_crop(8)):
        assert decode((encoded, 0), (0, 1))[0].shape == (8, 8, 3)


def test_in_a_pipeline_the_same_seed_gives_the_same_image():
    encoded = [encode(smooth_image(40 + i, 50, seed=i)) for i in range(4)]
    dataset = tf.data.Dataset.from_tensor_slices((encoded, [0, 1, 2, 3]))
    decode = imagenet.random_resized_crop(16)
    batches = dataset.map(lambda x, y: decode((x, y), tf.stack([7, y]))).batch(4)
    assert batches.element_spec[0].shape.as_list() == [None, 16, 16, 3]
    for first, second in zip(next(iter(batches)), next(iter(batches)), strict=True):
        np.testing.assert_array_equal(first, second)


def test_resize_below_size():
    with pytest.raises(ValueError, match=r"resize: expected at least size \(224\), received 200"):
        imagenet.center_crop(224, 200)
