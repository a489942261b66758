import keras
import numpy as np
import pytest

from lbkeras.models import keskar_c1, keskar_c2, keskar_c3, keskar_c4, keskar_f1


def trainable(model):
    return sum(int(np.prod(v.shape)) for v in model.trainable_variables)


def of(model, kind):
    return [layer for layer in model.layers if isinstance(layer, kind)]


def test_parameters_of_f1():
    """784-512x5-10; each hidden layer has a kernel, gamma and beta."""
    expected = 784 * 512 + 4 * 512 * 512 + 5 * 2 * 512 + 512 * 10 + 10
    assert trainable(keskar_f1()) == expected


@pytest.mark.parametrize("build, num_classes", [(keskar_c1, 10), (keskar_c3, 100)])
def test_parameters_of_c1_and_c3(build, num_classes):
    """32 x 32 pixels become 8 x 8 after two poolings."""
    expected = (25 * 3 + 2) * 64 + (25 * 64 + 2) * 64
    expected += (8 * 8 * 64 + 2) * 384 + (384 + 2) * 192 + (192 + 1) * num_classes
    assert trainable(build()) == expected


@pytest.mark.parametrize("build, num_classes", [(keskar_c2, 10), (keskar_c4, 100)])
def test_parameters_of_c2_and_c4(build, num_classes):
    """Thirteen convolutions; 32 x 32 pixels become one after five poolings."""
    filters = [3, 64, 64, 128, 128, 256, 256, 256, 512, 512, 512, 512, 512, 512]
    expected = sum((9 * a + 2) * b for a, b in zip(filters, filters[1:], strict=False))
    expected += (512 + 2) * 512 + (512 + 1) * num_classes
    model = build()
    assert trainable(model) == expected and model.name.endswith("4" if num_classes > 10 else "2")


def test_order_of_c2():
    """keskarnitish/large-batch-training, network_zoo.py: where dropout and pooling are."""
    short = {"Conv2D": "c", "Dropout": "d", "MaxPooling2D": "p", "Flatten": "f", "Dense": "D"}
    names = [type(layer).__name__ for layer in keskar_c2().layers]
    assert "".join(short.get(n, "") for n in names) == (
        "cdcp" + "cdcp" + "cdcdcp" + "cdcdcp" + "cdcdcp" + "fdDdD"
    )
    rates = [layer.rate for layer in of(keskar_c2(), keras.layers.Dropout)]
    assert rates == [0.3] + [0.4] * 7 + [0.5] * 2


def test_pooling_of_c1():
    pooled = [x.output.shape[1:] for x in of(keskar_c1(), keras.layers.MaxPooling2D)]
    assert pooled == [(16, 16, 64), (8, 8, 64)]


def test_batch_normalization_before_each_activation():
    for build, hidden in ((keskar_f1, 5), (keskar_c1, 4), (keskar_c2, 14)):
        model = build()
        activations = of(model, keras.layers.ReLU)
        made_by = {id(layer.output): layer for layer in model.layers}
        before = [made_by[id(x.input)] for x in activations]
        assert len(before) == hidden
        assert all(isinstance(x, keras.layers.BatchNormalization) for x in before)
