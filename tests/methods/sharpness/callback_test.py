"""Sharpness in `fit` on digits: what it logs, when, and that it changes nothing."""

import keras
import numpy as np
import pytest

from lbkeras.callbacks import BatchSizeScheduler, Sharpness
from lbkeras.data import Pipeline
from lbkeras.errors import UserError
from lbkeras.trainers import StackedNodes

QUICK = dict(epsilons=(1e-3,), subspace_dimensions=(None,), iterations=2)


@pytest.fixture
def train(digits):
    return Pipeline(tuple(part[:200] for part in digits), batch_size=50)


def fit(model, train, callbacks, epochs=3):
    return model.fit(train, epochs=epochs, callbacks=callbacks, verbose=0).history


def test_the_rise_of_a_softmax_regression(train, digits, compiled):
    """The loss is convex; 10 iterations come close to the highest corner of a longer search."""
    model = compiled()
    history = fit(model, train, [Sharpness(train, subspace_dimensions=(None, 2))])
    names = ["sharpness", "sharpness_5e-4", "sharpness_subspace_2", "sharpness_subspace_2_5e-4"]
    assert [name for name in history if "sharpness" in name] == names
    assert all(len(history[name]) == 1 for name in names)
    x, y = (part[:200] for part in digits)
    x = x.reshape(200, 64) / 16
    weights = [w.astype(np.float64) for w in model.get_weights()[:2]]

    def loss(kernel, bias):
        logits = x @ kernel + bias
        rows = np.log(np.exp(logits).sum(axis=1)) - logits[np.arange(200), y]
        return rows.mean()

    start = loss(*weights)
    for name, epsilon in (("sharpness", 1e-3), ("sharpness_5e-4", 5e-4)):
        widths = [epsilon * (abs(w) + 1) for w in weights]
        highest = start
        step = [np.zeros_like(w) for w in weights]
        for _ in range(20):  # from corner to corner by the signs of the gradient
            kernel, bias = (w + s for w, s in zip(weights, step, strict=True))
            probabilities = np.exp(x @ kernel + bias)
            probabilities /= probabilities.sum(axis=1, keepdims=True)
            probabilities[np.arange(200), y] -= 1
            gradients = x.T @ probabilities, probabilities.sum(axis=0)
            step = [b * np.sign(g) for b, g in zip(widths, gradients, strict=True)]
            highest = max(highest, loss(*(w + s for w, s in zip(weights, step, strict=True))))
        expected = 100 * (highest - start) / (1 + start)
        assert history[name][0] == pytest.approx(expected, rel=2e-3)
    assert history["sharpness_subspace_2"][0] < history["sharpness"][0]


@pytest.mark.release  # the gate: flat_loss_test.py leaves the model unchanged
def test_training_is_the_same_as_without_it(train, compiled):
    """Bit for bit, including batch norm's statistics, dropout's seeds and optimizer's slots."""
    models = [compiled(hidden=8, dropout=0.3) for _ in range(2)]
    fit(models[0], train, [BatchSizeScheduler(train, lambda epoch, size: 50)])
    measure = Sharpness(train, every_epochs=1, **QUICK)
    scheduler = BatchSizeScheduler(train, lambda epoch, size: 50)
    history = fit(models[1], train, [scheduler, measure])
    assert len(history["sharpness"]) == 3
    variables = [[*model.variables, *model.optimizer.variables] for model in models]
    for first, second in zip(*variables, strict=True):
        np.testing.assert_array_equal(first.numpy(), second.numpy())


@pytest.mark.parametrize(("every_epochs", "expected"), [(0, [4]), (2, [1, 3, 4])])
def test_the_epochs_that_are_measured(train, compiled, every_epochs, expected):
    epochs = []
    measure = Sharpness(train, every_epochs=every_epochs, **QUICK)

    class Watch(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            if "sharpness" in logs:
                epochs.append(epoch)

    scheduler = BatchSizeScheduler(train, lambda epoch, size: size)
    fit(compiled(), train, [scheduler, measure, Watch()], epochs=5)
    assert epochs == expected


def test_training_that_is_stopped_early_is_measured_too(train, compiled):
    class Stop(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            self.model.stop_training = epoch == 1

    scheduler = BatchSizeScheduler(train, lambda epoch, size: size)
    history = fit(compiled(), train, [scheduler, Stop(), Sharpness(train, **QUICK)], epochs=9)
    assert len(history["loss"]) == 2 and len(history["sharpness"]) == 1


def test_several_replicas_equal_one_device(train, compiled, mirrored):
    with mirrored.scope():
        model = compiled(hidden=8)
    history = fit(model, train, [Sharpness(train, **QUICK)], epochs=1)
    alone = compiled(hidden=8)
    alone.set_weights(model.get_weights())
    measure = Sharpness(train, **QUICK)
    measure.set_model(alone)
    measure.set_params({"verbose": 0})
    assert history["sharpness"][0] == pytest.approx(measure.measure()["sharpness"], rel=0.02)


def test_progress(train, compiled, monkeypatch, capsys):
    monkeypatch.setattr("lbkeras.methods.sharpness.callback._SECONDS_BETWEEN_LINES", -1.0)
    measure = Sharpness(train, **QUICK)
    compiled().fit(train, callbacks=[measure], verbose=2)
    assert "sharpness: 1 of about 4 passes\n" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (dict(epsilons=1e-3), "^epsilons: expected a tuple of at least one, received 0.001"),
        (dict(epsilons=(0.0,)), "^epsilons: expected a finite number above 0, received 0.0"),
        (dict(subspace_dimensions=()), "^subspace_dimensions: expected a tuple of at least one"),
        (
            dict(subspace_dimensions=(0,)),
            "^subspace_dimensions: expected a whole number of at least 1, received 0",
        ),
        (dict(examples=201), "^examples: expected a whole number .* at most 200, received 201"),
        (
            dict(every_epochs=-1),
            "^every_epochs: expected a whole number of at least 0, received -1",
        ),
        (dict(iterations=0), "^iterations: expected a whole number of at least 1, received 0"),
        (dict(batch_size=0), "^batch_size: expected a whole number of at least 1, received 0"),
    ],
)
def test_arguments_out_of_range(train, arguments, message):
    with pytest.raises(UserError, match=message):
        Sharpness(train, **arguments)


def test_unsuitable_models_are_an_error_before_the_first_step(train, compiled):
    model = compiled()
    with pytest.raises(UserError, match="^subspace_dimensions: expected at most the model's 650 "):
        fit(model, train, [Sharpness(train, subspace_dimensions=(651,))])
    assert model.optimizer.iterations == 0
    nodes = StackedNodes(model, 2)
    nodes.compile("sgd", "mse")
    measure = Sharpness(train)
    measure.set_model(nodes)
    with pytest.raises(UserError, match="^model: expected one set of weights"):
        measure.on_train_begin()
