import keras
import numpy as np
import pytest

from lbkeras.layers import HadamardClassifier, OrthonormalClassifier
from lbkeras.models import cifar_resnet


def trainable(model):
    return sum(int(np.prod(v.shape)) for v in model.trainable_variables)


@pytest.mark.parametrize("depth, millions", [(20, 0.27), (32, 0.46), (44, 0.66), (56, 0.85)])
def test_parameters_are_the_papers(depth, millions):
    """He et al., arXiv:1512.03385, table 6."""
    assert round(trainable(cifar_resnet(depth)) / 1e6, 2) == millions


def test_option_b_adds_two_projections():
    added = trainable(cifar_resnet(8, shortcut="B")) - trainable(cifar_resnet(8))
    assert added == 16 * 32 + 2 * 32 + 32 * 64 + 2 * 64


def test_shapes_of_the_stages():
    model = cifar_resnet(8, width=8)
    sums = [layer.output.shape[1:] for layer in model.layers if isinstance(layer, keras.layers.Add)]
    assert sums == [(32, 32, 8), (16, 16, 16), (8, 8, 32)]


def test_option_a_takes_every_second_pixel_and_pads_channels():
    model = cifar_resnet(8, width=4, input_shape=(7, 7, 3))
    add = [layer for layer in model.layers if isinstance(layer, keras.layers.Add)][1]
    shortcut = keras.Model(model.inputs, add.input[0])
    before = [layer for layer in model.layers if isinstance(layer, keras.layers.MaxPooling2D)][0]
    source = keras.Model(model.inputs, before.input)
    images = np.random.default_rng(0).integers(0, 256, (2, 7, 7, 3), dtype=np.uint8)
    x = source.predict_on_batch(images)
    expected = np.concatenate([x[:, ::2, ::2], np.zeros((2, 4, 4, 4), np.float32)], axis=-1)
    np.testing.assert_array_equal(shortcut.predict_on_batch(images), expected)


def test_given_batch_normalization():
    model = cifar_resnet(
        8, batch_normalization=lambda: keras.layers.BatchNormalization(momentum=0.5)
    )
    layers = [x for x in model.layers if isinstance(x, keras.layers.BatchNormalization)]
    assert len(layers) == 7 and all(x.momentum == 0.5 for x in layers)


def test_wrong_depth():
    with pytest.raises(ValueError, match=r"depth: expected 6n \+ 2 .*, received 18"):
        cifar_resnet(18)


def test_wrong_shortcut():
    with pytest.raises(ValueError, match='shortcut: expected "A" or "B", received \'C\''):
        cifar_resnet(8, shortcut="C")


def gammas(model):
    layers = [x for x in model.layers if isinstance(x, keras.layers.BatchNormalization)]
    return [float(x.gamma.numpy().mean()) for x in layers]


def test_zero_gamma_is_the_last_of_each_block():
    assert gammas(cifar_resnet(8)) == [1] * 7
    assert gammas(cifar_resnet(8, zero_gamma=True)) == [1, 1, 0, 1, 0, 1, 0]
    # Option B's projections keep theirs.
    assert gammas(cifar_resnet(8, shortcut="B", zero_gamma=True)).count(0) == 3


def test_zero_gamma_with_given_batch_normalization():
    model = cifar_resnet(
        8, zero_gamma=True, batch_normalization=lambda: keras.layers.BatchNormalization()
    )
    assert gammas(model) == [1, 1, 0, 1, 0, 1, 0]


@pytest.mark.parametrize(
    "fixed, kind",
    [
        (True, HadamardClassifier),
        ("hadamard", HadamardClassifier),
        ("orthonormal", OrthonormalClassifier),
    ],
)
def test_fixed_classifier_learns_a_scale_and_a_bias(fixed, kind):
    learned, model = cifar_resnet(8), cifar_resnet(8, fixed_classifier=fixed)
    assert trainable(learned) - trainable(model) == 639
    assert type(model.get_layer("logits")) is kind
    assert type(learned.get_layer("logits")) is keras.layers.Dense


def test_unknown_fixed_classifier():
    with pytest.raises(ValueError, match="fixed_classifier: expected one of 'hadamard', 'orthon"):
        cifar_resnet(8, fixed_classifier="hadamart")
