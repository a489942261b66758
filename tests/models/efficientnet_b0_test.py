import keras
import numpy as np
import pytest

from lbkeras.models import efficientnet_b0


def _images(number):
    return np.random.default_rng(0).integers(0, 256, (number, 64, 64, 3), dtype=np.uint8)


def _norms(model):
    return [each for each in model.layers if isinstance(each, keras.layers.BatchNormalization)]


def test_small_images_have_the_published_parameters():
    """5.3 M in the paper's table 1; 5,288,548 in torchvision's documentation.

    Keras lists 5,330,571, which includes 42,016 moving statistics and the 7 parameters of its own
    normalization, which ours replaces.
    """
    model = efficientnet_b0((64, 64, 3), weight_decay=0.02, synchronized=True)
    count = sum(int(np.prod(v.shape)) for v in model.trainable_variables)
    assert count == 5_288_548 == 5_330_571 - 42_016 - 7
    moving = [v for v in model.variables if "moving" in v.path]
    assert sum(int(np.prod(v.shape)) for v in moving) == 42_016
    assert [each.name for each in model.layers[:3]] == ["images", "normalization", "stem_conv_pad"]
    assert {(each.momentum, each.synchronized) for each in _norms(model)} == {(0.9, True)}
    kernels = [v.numpy() for v in model.trainable_variables if v.path.endswith("kernel")]
    assert len(kernels) == len(model.losses) == 82  # depthwise kernels included
    expected = 0.01 * sum(np.square(k.astype(np.float64)).sum() for k in kernels)
    np.testing.assert_allclose(sum(float(loss) for loss in model.losses), expected, rtol=1e-4)


def test_branches_are_dropped_as_published():
    model = efficientnet_b0((32, 32, 3), 10, dropout=0.3)
    drops = [each for each in model.layers if isinstance(each, keras.layers.Dropout)]
    # Blocks 2b, 3b, 4b, 4c, 5b, 5c, 6b, 6c, 6d have a shortcut; these are their places of 16.
    expected = [0.2 * i / 16 for i in (2, 4, 6, 7, 9, 10, 12, 13, 14)]
    assert [each.rate for each in drops] == pytest.approx([*expected, 0.3])
    assert {each.noise_shape for each in drops[:-1]} == {(None, 1, 1, 1)}


@pytest.mark.release
def test_save_and_load(tmp_path):
    model = efficientnet_b0((64, 64, 3), 10, weight_decay=0.02)
    logits = model.predict_on_batch(_images(2))
    assert logits.shape == (2, 10) and logits.dtype == np.float32
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert len(loaded.losses) == 82 and {each.momentum for each in _norms(loaded)} == {0.9}
    np.testing.assert_allclose(loaded.predict_on_batch(_images(2)), logits, rtol=1e-5, atol=1e-6)


@pytest.mark.release
def test_trains_with_ghost_batch_norm():
    model = efficientnet_b0((64, 64, 3), 10, ghost_batch_size=2)
    names = [type(each).__name__ for each in model.layers]
    assert names.count("GhostBatchNormalization") == 49 and "BatchNormalization" not in names
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.SGD(0.05, momentum=0.9), loss)
    history = model.fit(_images(8), np.arange(8), batch_size=8, epochs=8, verbose=0).history["loss"]
    assert history[-1] < history[0]


@pytest.mark.parametrize("shape", [(31, 64, 3), (64, 64, 1)])
def test_unusable_images_are_refused(shape):
    with pytest.raises(ValueError, match=r"input_shape: expected .* at least 32 and 3 channels"):
        efficientnet_b0(shape)
