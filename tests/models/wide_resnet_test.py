import keras
import numpy as np
import pytest

from lbkeras.models import wide_resnet


def trainable(model):
    return sum(int(np.prod(v.shape)) for v in model.trainable_variables)


@pytest.mark.parametrize("depth, width, millions", [(40, 1, 0.6), (40, 2, 2.2), (16, 8, 11.0)])
def test_parameters_are_the_papers(depth, width, millions):
    """Zagoruyko and Komodakis, arXiv:1605.07146, tables 3 and 4."""
    assert round(trainable(wide_resnet(depth, width)) / 1e6, 1) == millions


def test_parameters_of_wrn_16_4():
    # The authors' PyTorch code and its ports have the same number.
    assert trainable(wide_resnet(16, 4)) == 2_748_890


def test_shapes_of_the_stages():
    model = wide_resnet(10, 2)
    sums = [layer.output.shape[1:] for layer in model.layers if isinstance(layer, keras.layers.Add)]
    assert sums == [(32, 32, 32), (16, 16, 64), (8, 8, 128)]


def test_dropout_between_the_convolutions_of_each_block():
    rates = [
        x.rate
        for x in wide_resnet(16, 1, dropout=0.3).layers
        if isinstance(x, keras.layers.Dropout)
    ]
    assert rates == [0.3] * 6


def test_wrong_depth():
    with pytest.raises(ValueError, match=r"depth: expected 6n \+ 4 .*, received 18"):
        wide_resnet(18, 4)


def test_fixed_classifier_learns_a_scale_and_a_bias():
    assert trainable(wide_resnet(10, 1)) - trainable(wide_resnet(10, 1, fixed_classifier=True)) == (
        64 * 10 - 1
    )
