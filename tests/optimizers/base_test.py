"""Exclusions: which variables are excluded, invalid arguments, and saved models."""

import keras
import numpy as np
import pytest

from lbkeras.errors import UserError
from lbkeras.optimizers import LAMB, LARS, SGDP


def two_towers():
    """A nested model in which two layers have the same name."""

    def tower(name):
        layers = [keras.Input((4,)), keras.layers.Dense(3, name="dense")]
        return keras.Sequential(layers, name=name)

    inputs = keras.Input((4,))
    left, right = tower("left"), tower("right")
    return keras.Model(inputs, keras.layers.Add()([left(inputs), right(inputs)]))


def test_a_variable_stays_excluded_in_a_loaded_model(tmp_path):
    """Up to Keras 3.15 both kernels have the same path in the loaded model."""
    model = two_towers()
    optimizer = LARS(0.1, weight_decay=0.1)
    optimizer.exclude_from_layer_adaptation(var_list=[model.get_layer("left").layers[0].kernel])
    optimizer.exclude_from_weight_decay(var_names=["right/dense/kernel"])
    model.compile(optimizer, "mse")
    x, y = np.ones((8, 4), np.float32), np.ones((8, 3), np.float32)
    model.fit(x, y, verbose=0)
    assert list(optimizer.trust_ratios()) == ["right/dense/kernel"]
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    for each in (model, loaded):
        each.fit(x, y, verbose=0)
        assert [each.optimizer.decay_of(index) for index in range(4)] == [0.1, 0.0, 0.0, 0.0]
    assert list(loaded.optimizer.trust_ratios().values()) == list(optimizer.trust_ratios().values())


def test_ratios_of_variables_with_the_same_path():
    kernels = [keras.Variable(np.full((2, 2), value), name="kernel") for value in (1.0, 2.0)]
    optimizer = LARS(0.1, trust_coefficient=0.5)
    optimizer.apply([keras.ops.ones((2, 2))] * 2, kernels)
    assert optimizer.trust_ratios() == pytest.approx({"kernel": 0.5, "kernel_2": 1.0})


def test_an_exclusion_survives_the_loss_of_the_models_name_in_paths(tmp_path):
    """Up to Keras 3.15, variables of a loaded sequential model lack its name in their paths."""
    model = keras.Sequential(
        [keras.Input((4,)), keras.layers.Dense(3, name="a"), keras.layers.Dense(3, name="b")]
    )
    optimizer = LAMB(0.1)
    optimizer.exclude_from_layer_adaptation(var_names=[f"{model.name}/a/kernel"])
    model.compile(optimizer, "mse")
    model.fit(np.ones((8, 4), np.float32), np.ones((8, 3), np.float32), verbose=0)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert [path.split("/")[-2] for path in loaded.optimizer.trust_ratios()] == ["b"]


def test_exclusions_add_up_and_can_be_removed():
    model = two_towers()
    optimizer = LARS(0.1, weight_decay=0.1)
    optimizer.exclude_from_layer_adaptation(var_names=["left"])
    optimizer.exclude_from_layer_adaptation(var_names=["right"])
    optimizer.exclude_from_weight_decay()  # nothing is excluded, not even biases
    optimizer.build(model.trainable_variables)
    assert optimizer.trust_ratios() == {}
    assert [optimizer.decay_of(index) for index in range(4)] == [0.1] * 4


def test_all_variables_decay_if_the_rule_has_no_default_exclusion():
    optimizer = SGDP(0.1, weight_decay=0.1)
    optimizer.build([keras.Variable(np.ones(3), name="gamma")])
    assert optimizer.decay_of(0) == 0.1


def test_messages():
    kernel = keras.Variable(np.ones((2, 2)), name="kernel")
    optimizer = LARS(0.1)
    optimizer.exclude_from_weight_decay(var_names=["kernal"])
    with pytest.raises(
        UserError, match="expected a pattern that matches a variable, received 'kernal"
    ):
        optimizer.build([kernel])
    with pytest.raises(UserError, match=r"var_names: expected regular expressions, received '\('"):
        LARS(0.1).exclude_from_weight_decay(var_names=["("])
    with pytest.raises(UserError, match="var_names: expected a list or tuple, received 'bias'"):
        LARS(0.1).exclude_from_weight_decay(var_names="bias")
    with pytest.raises(UserError, match="var_list: expected Keras variables"):
        LARS(0.1).exclude_from_layer_adaptation(var_list=["kernel"])
    built = LARS(0.1)
    built.build([kernel])
    with pytest.raises(UserError, match="expected to be called before the optimizer is built"):
        built.exclude_from_layer_adaptation(var_names=["kernel"])
