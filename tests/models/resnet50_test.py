import keras
import numpy as np
import pytest

from lbkeras.models import resnet50


@pytest.fixture(scope="module")
def model():
    keras.utils.set_random_seed(0)
    return resnet50()


def normalizations(model):
    return [x for x in model.layers if isinstance(x, keras.layers.BatchNormalization)]


def test_parameters_are_torchvisions(model):
    """torchvision's resnet50 has 25,557,032, with 53 batch norms."""
    assert sum(int(np.prod(v.shape)) for v in model.trainable_variables) == 25_557_032
    assert len(normalizations(model)) == 53


def test_shapes_of_the_stages(model):
    sums = [layer.output.shape[1:] for layer in model.layers if isinstance(layer, keras.layers.Add)]
    stages = [(56, 56, 256)] * 3 + [(28, 28, 512)] * 4 + [(14, 14, 1024)] * 6 + [(7, 7, 2048)] * 3
    assert sums == stages


def test_the_stride_is_on_the_3x3_convolution(model):
    strided = [
        layer.kernel_size
        for layer in model.layers
        if isinstance(layer, keras.layers.Conv2D) and layer.strides == (2, 2)
    ]
    # The first convolution; then in each of three stages the block's 3x3 and the shortcut's 1x1.
    assert strided[0] == (7, 7) and sorted(strided[1:]) == [(1, 1)] * 3 + [(3, 3)] * 3


def test_starts_as_goyal_says(model):
    zero = [x for x in normalizations(model) if not x.gamma.numpy().any()]
    assert len(zero) == 16 and {x.gamma.shape for x in zero} == {(256,), (512,), (1024,), (2048,)}
    # 2,048,000 normal values.
    assert abs(model.get_layer("logits").kernel.numpy().std() - 0.01) < 2e-5
    first = next(x for x in model.layers if isinstance(x, keras.layers.Conv2D))
    np.testing.assert_allclose(first.kernel.numpy().std(), np.sqrt(2 / (49 * 64)), rtol=0.03)


@pytest.mark.release  # the gate: test_blocks_are_identities_at_first, with the default
def test_the_last_gammas_may_have_another_initial_value():
    last = [resnet50((8, 8, 3), 5, **each) for each in ({"last_gamma": 0.4138}, {"zero_gamma": 0})]
    counts = [[float(x.gamma.numpy()[0]) for x in normalizations(model)] for model in last]
    assert sum(abs(gamma - 0.4138) < 1e-6 for gamma in counts[0]) == 16
    assert counts[0].count(1) == 53 - 16 and counts[1].count(1) == 53
    with pytest.raises(ValueError, match="last_gamma: expected a finite number of at least 0"):
        resnet50((8, 8, 3), 5, last_gamma=-0.1)


def test_blocks_are_identities_at_first():
    """With gamma 0 a branch adds nothing, whatever its kernels are."""
    keras.utils.set_random_seed(0)
    model = resnet50((8, 8, 3), num_classes=5)
    second = [layer for layer in model.layers if isinstance(layer, keras.layers.Add)][1]
    images = np.random.default_rng(0).integers(0, 256, (2, 8, 8, 3), dtype=np.uint8)
    branch, shortcut = keras.Model(model.inputs, second.input[::-1]).predict_on_batch(images)
    assert np.abs(branch).max() == 0 and np.abs(shortcut).max() > 0


@pytest.mark.release  # the gate: parts_test.py, test_mixed_precision_keeps_float32_logits
def test_small_images_mixed_precision_and_float32_logits():
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        model = resnet50((8, 8, 1), num_classes=5, weight_decay=1e-4, fixed_classifier=True)
    finally:
        keras.config.set_dtype_policy("float32")
    logits = model.predict_on_batch(np.zeros((2, 8, 8, 1), np.uint8))
    assert logits.shape == (2, 5) and logits.dtype == np.float32 and np.isfinite(logits).all()
    assert len(model.losses) == 53 + 1  # each convolution and the classifier's scale
