import keras
import numpy as np
import pytest

from lbkeras.layers import ShakeDrop
from lbkeras.models import pyramidnet

# Parameters with 10 classes: exact numbers from the tables of osmr/imgclsmob (trained ports of the
# authors' code), millions from the paper's own table (jhkim89/PyramidNet, README); output filters.
PUBLISHED = [
    (110, 48, False, 1_772_706, 1.7, 64),
    (110, 84, False, 3_904_446, 3.8, 100),
    (110, 270, False, 28_485_477, 28.3, 286),
    (164, 270, True, 27_216_021, 27.0, 1144),
    (200, 240, True, 26_752_702, 26.6, 1024),
]


def trainable(model):
    return sum(int(np.prod(v.shape)) for v in model.trainable_variables)


def of(model, kind):
    return [layer for layer in model.layers if isinstance(layer, kind)]


@pytest.mark.release  # the gate: parts_test.py builds a small one
@pytest.mark.parametrize("depth, widening, bottleneck, exact, millions, filters", PUBLISHED[:1])
def test_parameters_are_published(depth, widening, bottleneck, exact, millions, filters):
    model = pyramidnet(depth, widening, bottleneck=bottleneck)
    assert trainable(model) == exact
    assert 1 <= exact / 1e6 / millions < 1.05
    assert model.get_layer("logits").kernel.shape == (filters, 10)


@pytest.mark.release
@pytest.mark.parametrize("depth, widening, bottleneck, exact, millions, filters", PUBLISHED[1:])
def test_parameters_of_large_ones(depth, widening, bottleneck, exact, millions, filters):
    test_parameters_are_published(depth, widening, bottleneck, exact, millions, filters)


@pytest.mark.parametrize("depth, bottleneck", [(8, False), (11, True), (14, False), (20, True)])
def test_shapes_of_the_blocks(depth, bottleneck):
    model = pyramidnet(depth, 12, (9, 9, 3), bottleneck=bottleneck)
    sums = [layer.output.shape[1:] for layer in of(model, keras.layers.Add)]
    n, wider = len(sums) // 3, 4 if bottleneck else 1
    assert [shape[0] for shape in sums] == [9] * n + [5] * n + [3] * n
    assert [shape[2] for shape in sums] == [
        wider * (16 + 12 * k // (3 * n)) for k in range(1, 3 * n + 1)
    ]


def test_survival_falls_linearly():
    """1 - k / K (1 - p_L), equation of section 3.3."""
    model = pyramidnet(14, 12, last_survival_probability=0.4)
    probabilities = [layer.survival_probability for layer in of(model, ShakeDrop)]
    np.testing.assert_allclose(probabilities, [0.9, 0.8, 0.7, 0.6, 0.5, 0.4])
    assert not of(pyramidnet(14, 12, shake_drop=False), ShakeDrop)


def test_branches_have_the_given_ranges_and_level():
    model = pyramidnet(
        8, 12, last_survival_probability=0.0, survival="constant", alpha=(0, 1), level="pixel"
    )
    for layer in of(model, ShakeDrop):
        assert (layer.survival_probability, layer.alpha, layer.level) == (0, (0, 1), "pixel")
        assert layer.beta == (0, 1)
    assert {layer.level for layer in of(pyramidnet(8, 12), ShakeDrop)} == {"image"}


def test_shortcut_averages_and_pads():
    model = pyramidnet(8, 12, (6, 6, 3))
    add = of(model, keras.layers.Add)[1]
    source = of(model, keras.layers.AveragePooling2D)[0].input
    images = np.random.default_rng(0).integers(0, 256, (2, 6, 6, 3), dtype=np.uint8)
    x, shortcut = keras.Model(model.inputs, [source, add.input[0]]).predict_on_batch(images)
    expected = np.zeros((2, 3, 3, 24), np.float32)
    expected[..., :20] = x.reshape(2, 3, 2, 3, 2, 20).mean((2, 4))
    np.testing.assert_allclose(shortcut, expected, atol=1e-6)


@pytest.mark.parametrize(
    "arguments, message",
    [
        (dict(depth=18), r"depth: expected 6n \+ 2 \(without bottleneck\), received 18"),
        (dict(depth=14, bottleneck=True), r"depth: expected 9n \+ 2 \(with bottleneck\)"),
        (dict(depth=8, widening=-1), "widening: expected at least 0, received -1"),
        (dict(depth=8, last_survival_probability=2), "last_survival_probability: expected 0 to 1"),
        (dict(depth=8, survival="linaer"), "survival: expected one of 'linear', 'constant', rec"),
        (dict(depth=8, level="layer"), "level: expected one of batch, image, channel, pixel"),
        (dict(depth=8, alpha=(1, 0)), r"alpha: expected \(lowest, highest\), received \(1, 0\)"),
    ],
)
def test_wrong_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        pyramidnet(**arguments)
