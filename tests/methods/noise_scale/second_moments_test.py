import keras

from lbkeras.methods.noise_scale.second_moments import has_second_moments


def test_optimizers_with_second_moments():
    with_moments = {"Adam", "AdamW", "Nadam", "Lamb"}
    for name in ("SGD", "Adam", "AdamW", "Nadam", "Lamb", "Lion", "Adamax", "RMSprop", "Adagrad"):
        optimizer = getattr(keras.optimizers, name)()
        assert has_second_moments(optimizer) == (name in with_moments), name
