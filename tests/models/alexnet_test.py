import keras
import numpy as np
import pytest

from lbkeras.models import alexnet


def trainable(model):
    return sum(int(np.prod(v.shape)) for v in model.trainable_variables)


def by_hand(size, channels, num_classes, groups, batch_normalization=False):
    """Kernels (height x width x input channels per group x filters), biases or gamma and beta."""
    total = 0
    before = channels
    for kernel, filters, split in ((11, 96, 1), (5, 256, 2), (3, 384, 1), (3, 384, 2), (3, 256, 2)):
        total += kernel**2 * (before // (split if groups == 2 else 1)) * filters
        total += 2 * filters if batch_normalization else filters
        before = filters
    side = (((((size - 11) // 4 + 1) - 3) // 2 + 1 - 3) // 2 + 1 - 3) // 2 + 1
    for units, flat in ((4096, side**2 * 256), (4096, 4096), (num_classes, 4096)):
        total += (flat + 1) * units
    return total


def test_formula_gives_caffes_parameters():
    """BVLC/caffe's bvlc_alexnet has 60,965,224; without groups 62,378,344."""
    assert by_hand(227, 3, 1000, groups=2) == 60_965_224
    assert by_hand(227, 3, 1000, groups=1) == 62_378_344


@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize("batch_normalization", [False, True])
def test_parameters(groups, batch_normalization):
    model = alexnet((75, 75, 1), 10, groups=groups, batch_normalization=batch_normalization)
    assert trainable(model) == by_hand(75, 1, 10, groups, batch_normalization)


@pytest.mark.release  # the gate: test_parameters
def test_parameters_and_shapes_for_imagenet():
    model = alexnet()
    assert trainable(model) == 60_965_224
    pooled = [x.output.shape[1:] for x in model.layers if isinstance(x, keras.layers.MaxPooling2D)]
    assert pooled == [(27, 27, 96), (13, 13, 256), (6, 6, 256)]
    assert trainable(alexnet(batch_normalization=True)) == 60_965_224 + 96 + 256 + 2 * 384 + 256


def test_local_response_normalization():
    """Against a loop over channels, at the scale of Caffe's activations."""
    from lbkeras.models.alexnet import _local_response_normalization

    x = np.random.default_rng(0).normal(0, 100, (2, 3, 3, 7)).astype(np.float32)
    expected = np.empty_like(x)
    for c in range(7):
        window = x[..., max(0, c - 2) : c + 3].astype(np.float64)
        expected[..., c] = x[..., c] / (1 + 1e-4 / 5 * (window**2).sum(-1)) ** 0.75
    np.testing.assert_allclose(_local_response_normalization(x), expected, rtol=1e-6)


def test_pixels_keep_their_scale():
    model = alexnet((67, 67, 1), 10)
    white = model.get_layer("normalization")(np.full((1, 67, 67, 1), 255, np.uint8))
    assert float(np.max(white)) == 127.5


@pytest.mark.slow
@pytest.mark.release  # the gate has resnet50_test's, and the parameters and shapes above
def test_trains_in_mixed_precision_with_float32_logits():
    """One step changes the kernels of every layer, the grouped ones too."""
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        model = alexnet((67, 67, 1), 3, weight_decay=5e-4)
    finally:
        keras.config.set_dtype_policy("float32")
    assert len(model.losses) == 8
    images = np.random.default_rng(0).integers(0, 256, (4, 67, 67, 1), dtype=np.uint8)
    logits = model.predict_on_batch(images)
    assert logits.shape == (4, 3) and logits.dtype == np.float32
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.SGD(0.01), loss, jit_compile=False)
    before = [v.numpy() for v in model.trainable_variables]
    model.train_on_batch(images, np.array([0, 1, 2, 0]))
    after = [v.numpy() for v in model.trainable_variables]
    assert all((a != b).any() for a, b in zip(after, before, strict=True))


@pytest.mark.release  # the gate saves and loads the small networks: parts_test.py
def test_save_and_load(tmp_path):
    model = alexnet((67, 67, 1), 3)
    images = np.random.default_rng(0).integers(0, 256, (2, 67, 67, 1), dtype=np.uint8)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(loaded.predict_on_batch(images), model.predict_on_batch(images))


def test_small_images():
    with pytest.raises(
        ValueError, match=r"input_shape: expected .* at least 67 .*, received \(64, 64, 3\)"
    ):
        alexnet((64, 64, 3))


def test_wrong_groups():
    with pytest.raises(ValueError, match="groups: expected 1 or 2, received 3"):
        alexnet(groups=3)
