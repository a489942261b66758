import numpy as np
import pytest
import tensorflow as tf

from lbkeras.data.decode_image import decode_image

RANDOM = np.random.default_rng(0)


def photograph(height, width, channels):
    """Makes a smooth, colored image with some noise, the kind that JPEG is made for."""
    rows, columns = np.mgrid[:height, :width]
    waves = [np.sin(rows / 9 + i) + np.cos(columns / (7 + i)) for i in range(channels)]
    noise = RANDOM.normal(0, 0.1, (height, width, channels))
    return np.clip(128 + 60 * (np.stack(waves, -1) + noise), 0, 255).astype(np.uint8)


@pytest.mark.parametrize("size", [(1, 1), (32, 32), (33, 47)])
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_png_equals_tensorflows_bit_for_bit(size, channels):
    image = photograph(*size, channels)
    decoded = decode_image(tf.io.encode_png(image).numpy(), channels)
    np.testing.assert_array_equal(decoded, image)
    assert decoded.dtype == np.uint8


@pytest.mark.parametrize("stored, asked", [(1, 3), (4, 3), (3, 4)])
def test_png_channels_are_converted_as_by_tensorflow(stored, asked):
    encoded = tf.io.encode_png(photograph(9, 8, stored)).numpy()
    expected = tf.io.decode_png(encoded, channels=asked)
    np.testing.assert_array_equal(decode_image(encoded, asked), expected)


def test_png_of_16_bits():
    deep = RANDOM.integers(0, 1 << 16, (9, 8, 1), dtype=np.uint16)
    np.testing.assert_array_equal(decode_image(tf.io.encode_png(deep).numpy(), 1), deep >> 8)


@pytest.mark.parametrize("quality", [30, 75, 100])
@pytest.mark.parametrize("halved", [True, False])
@pytest.mark.parametrize("stored, asked", [(3, 3), (1, 1), (1, 3), (3, 1)])
def test_jpeg_equals_tensorflows_accurate_transform_bit_for_bit(stored, asked, halved, quality):
    image = photograph(33, 47, stored)
    encoded = tf.io.encode_jpeg(image, quality=quality, chroma_downsampling=halved).numpy()
    expected = tf.io.decode_jpeg(encoded, channels=asked, dct_method="INTEGER_ACCURATE")
    np.testing.assert_array_equal(decode_image(encoded, asked), expected)


@pytest.mark.parametrize("length", [0, 1, 3, 100, -1])
@pytest.mark.parametrize("encode", [tf.io.encode_png, tf.io.encode_jpeg])
def test_damaged_images_are_refused_in_one_line(encode, length):
    encoded = encode(photograph(33, 47, 3)).numpy()
    cut = encoded[:length] if length >= 0 else b"x" + encoded[1:]
    with pytest.raises(ValueError, match="expected an image that Pillow reads, received a") as e:
        decode_image(cut)
    assert "\n" not in str(e.value)
