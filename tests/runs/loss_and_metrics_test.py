"""Losses and metrics by name, and the user's own."""

import keras
import numpy as np
import pytest

from lbkeras.errors import UserError
from lbkeras.runs.loss_and_metrics import loss_and_metrics


def error_of(y_true, y_pred, power=2.0):
    """A user's own loss and metric."""
    return keras.ops.mean(keras.ops.abs(y_true - y_pred) ** power, axis=-1)


def make_loss(delta=1.0):
    return keras.losses.Huber(delta)


def make_metric(name):
    return keras.metrics.MeanSquaredError(name=name)


def no_loss():
    return None


def fails(delta):
    raise KeyError(delta)


OWN = __name__
SPARSE = dict(name="SparseCategoricalCrossentropy", from_logits=True)


def logged(settings, x, y, outputs=1):
    """Returns the names and values that evaluating a linear model with weights of 1 logs."""
    inputs = keras.Input((1,))
    names = settings.get("loss", {}) if outputs > 1 else [None]
    made = {
        name: keras.layers.Dense(1, kernel_initializer="ones", name=name)(inputs) for name in names
    }
    model = keras.Model(inputs, made if outputs > 1 else made[None])
    model.compile(**loss_and_metrics(settings))
    return model.evaluate(x, y, verbose=0, return_dict=True)


X, Y = np.array([[1.0], [2.0]]), np.array([[0.0], [4.0]])


def test_without_sections_it_is_classification_with_logits():
    made = loss_and_metrics({})
    assert isinstance(made["loss"], keras.losses.SparseCategoricalCrossentropy)
    assert made["loss"].get_config()["from_logits"] and made["metrics"] == ["accuracy"]
    assert loss_and_metrics({"loss": {"name": "mse"}})["metrics"] == []


def test_names_of_keras_and_of_the_users_own():
    metrics = {
        "mae": {},
        "RootMeanSquaredError": {},
        "cubed": {"name": f"{OWN}:error_of", "power": 3.0, "better": "lower"},
        "made": {"name": f"{OWN}:make_metric"},
    }
    values = logged({"loss": {"name": "mean_squared_error"}, "metrics": metrics}, X, Y)
    assert values == {
        "loss": pytest.approx(2.5),
        "mae": pytest.approx(1.5),
        "root_mean_squared_error": pytest.approx(2.5**0.5),
        "cubed": pytest.approx(4.5),
        "made": pytest.approx(2.5),
    }


@pytest.mark.parametrize(
    ("loss", "expected"),
    [
        ({"name": f"{OWN}:error_of"}, 2.5),
        ({"name": f"{OWN}:error_of", "power": 1.0}, 1.5),
        ({"name": f"{OWN}:make_loss", "delta": 1.5}, (0.5 + 1.5 * 2 - 1.5**2 / 2) / 2),
        ({"name": "keras.losses:Huber", "delta": 1.5}, (0.5 + 1.5 * 2 - 1.5**2 / 2) / 2),
        ({"name": "Huber", "delta": 1.5}, (0.5 + 1.5 * 2 - 1.5**2 / 2) / 2),
    ],
)
def test_losses(loss, expected):
    assert logged({"loss": loss}, X, Y)["loss"] == pytest.approx(expected)


def test_a_loss_for_each_output():
    settings = {
        "loss": {"a": {"name": "mse"}, "b": {"name": "mae", "weight": 0.5}},
        "metrics": {"mae": {"output": "a"}, "close": {"name": "mse", "output": "b"}},
    }
    values = logged(settings, X, {"a": Y, "b": Y}, outputs=2)
    assert values["loss"] == pytest.approx(2.5 + 0.5 * 1.5)
    assert (values["a_mae"], values["b_close"]) == pytest.approx((1.5, 2.5))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (dict(loss=dict(name="mse", axis=1)), "loss: expected one of reduction, name, .*'axis'"),
        (dict(loss=dict(name=f"{OWN}:error_of", pwoer=1)), "loss: .*'pwoer' .did you mean 'power'"),
        (dict(loss=dict(name=f"{OWN}:no_loss")), "loss: expected a function .y_true, .*None"),
        (dict(loss=dict(name=f"{OWN}:fails", delta=3)), "loss: .*fails. .delta=3.: .*KeyError: 3"),
        (dict(loss=dict(name=f"{OWN}:nothing")), "loss.name: expected one of .*'nothing'"),
        (dict(metrics=dict(AUC=dict(k=1))), "metrics.AUC: expected one of num_thresholds, .*'k'"),
        (dict(metrics=dict(accuracy=dict(k=1))), "metrics.accuracy: expected no arguments .*k"),
        (dict(metrics=dict(a=dict(name=f"{OWN}:no_loss"))), "metrics.a: expected .*'name'"),
        (dict(metrics=dict(AUC=dict(num_thresholds=-1))), "metrics.AUC: expected arguments .*-1"),
    ],
)  # fmt: skip
def test_unusable_losses_and_metrics(settings, message):
    with pytest.raises(UserError, match=message):
        loss_and_metrics(settings)
