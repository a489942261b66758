import keras
import numpy as np
import pytest

from lbkeras.models import inception_resnet_v2


def trainable(model):
    return sum(int(np.prod(v.shape)) for v in model.trainable_variables)


@pytest.mark.release
def test_parameters_are_published():
    """Keras' documentation lists 55.9 M: 55,813,192 trainable and 60,544 moving statistics."""
    model = inception_resnet_v2()
    assert trainable(model) == 55_813_192
    assert model.input_shape == (None, 299, 299, 3) and model.inputs[0].dtype == "uint8"
    statistics = [v for v in model.variables if "moving" in v.path]
    assert sum(int(np.prod(v.shape)) for v in statistics) == 60_544


@pytest.mark.release
def test_small_images_weight_decay_save_and_load(tmp_path):
    model = inception_resnet_v2((75, 75, 3), 10, weight_decay=0.02)
    kernels = [v.numpy() for v in model.trainable_variables if v.path.endswith("/kernel")]
    assert len(kernels) == len(model.losses) == 245
    expected = 0.01 * sum(np.square(k.astype(np.float64)).sum() for k in kernels)
    np.testing.assert_allclose(sum(float(loss) for loss in model.losses), expected, rtol=1e-4)
    images = np.random.default_rng(0).integers(0, 256, (2, 75, 75, 3), dtype=np.uint8)
    logits = model.predict_on_batch(images)
    assert logits.shape == (2, 10) and logits.dtype == np.float32
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert len(loaded.losses) == 245
    momenta = {x.momentum for x in loaded.layers if isinstance(x, keras.layers.BatchNormalization)}
    assert momenta == {0.9}
    np.testing.assert_allclose(loaded.predict_on_batch(images), logits, rtol=1e-5, atol=1e-6)


@pytest.mark.release
def test_ghost_batch_norm():
    model = inception_resnet_v2((75, 75, 3), 10, weight_decay=0.02, ghost_batch_size=2)
    names = [type(layer).__name__ for layer in model.layers]
    # Of the 244 convolutions, the last in each of 10 + 20 + 10 blocks has a bias instead.
    assert names.count("GhostBatchNormalization") == 204 and "BatchNormalization" not in names
    assert trainable(model) == 55_813_192 - (1536 + 1) * (1000 - 10)
    assert len(model.losses) == 245
    assert model.predict_on_batch(np.zeros((3, 75, 75, 3), np.uint8)).dtype == np.float32


def test_small_images_are_refused():
    with pytest.raises(
        ValueError, match=r"input_shape: expected .* at least 75 .*, received \(64, 64, 3\)"
    ):
        inception_resnet_v2((64, 64, 3))
