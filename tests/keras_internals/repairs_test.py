"""Each repair has its fault in this Keras, and mends it: otherwise it can go."""

import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf

from lbkeras.errors import UserError
from lbkeras.keras_internals import repairs as keras_repairs
from lbkeras.keras_internals.repairs import REPAIRS

PROBE = """
import sys
from lbkeras.keras_internals.repairs import REPAIRS, faults, repair_keras
assert faults() == tuple(REPAIRS), f"mended in this Keras: {set(REPAIRS) - set(faults())}"
assert repair_keras() == tuple(REPAIRS)
assert faults() == () and repair_keras() == ()
"""


@pytest.mark.slow
def test_this_keras_has_every_fault_and_loses_it():
    """In a process of its own; a failure names the repairs that can go."""
    process = subprocess.run([sys.executable, "-c", PROBE], capture_output=True, text=True)
    assert process.returncode == 0, process.stderr[-2000:]


def test_a_strategy_brings_the_repairs(mirrored):
    assert keras_repairs.faults() == ()


@pytest.mark.parametrize("name", REPAIRS)
def test_only_the_faults_that_are_there_are_mended(monkeypatch, name):
    mended = []
    repairs = {each: (lambda each=each: each == name, lambda each=each: mended.append(each))
               for each in REPAIRS}  # fmt: skip
    monkeypatch.setattr(keras_repairs, "REPAIRS", repairs)
    assert keras_repairs.repair_keras() == (name,)
    assert mended == [name]


def arrays(count):
    generator = np.random.default_rng(0)
    return generator.normal(size=(count, 6)).astype("f"), generator.normal(size=(count, 2))


def make(optimizer=None, steps_per_execution=1):
    keras.utils.set_random_seed(1)
    model = keras.Sequential([keras.Input((6,)), keras.layers.Dense(2, activation="tanh")])
    model.compile(
        optimizer or keras.optimizers.SGD(0.1, momentum=0.9),
        "mse",
        metrics=["mae"],
        steps_per_execution=steps_per_execution,
    )
    return model


@pytest.mark.slow
def test_a_model_that_is_built_costs_no_batch(mirrored):
    begun = []

    def examples():
        begun.append(len(begun))
        yield from zip(*arrays(8), strict=True)

    signature = (tf.TensorSpec((6,)), tf.TensorSpec((2,)))
    data = tf.data.Dataset.from_generator(examples, output_signature=signature).batch(4)
    with mirrored.scope():
        model = make()
    model.evaluate(data, verbose=0)
    built_and_evaluated = len(begun)
    model.fit(*arrays(8), verbose=0)  # builds the optimizer
    for _ in range(3):
        model.evaluate(data, verbose=0)
    assert len(begun) - built_and_evaluated == 3 and built_and_evaluated > 1


def fitted(model, **arguments):
    """Weights, logs and updates after 5 steps; the optimizer's slots go with the weights."""
    calls = []
    count_calls = keras.callbacks.LambdaCallback(
        on_train_batch_end=lambda batch, logs: calls.append(batch)
    )
    options = dict(batch_size=8, shuffle=False, verbose=0, callbacks=[count_calls]) | arguments
    history = model.fit(*arrays(40), **options).history
    weights = np.concatenate([w.ravel() for w in model.get_weights()])
    return weights, history, int(model.optimizer.iterations.numpy()), len(calls)


@pytest.mark.parametrize(
    "steps_per_execution, calls", [(3, 2), pytest.param(9, 1, marks=pytest.mark.slow)]
)
def test_steps_per_execution(mirrored, steps_per_execution, calls):
    """The last call has fewer steps; none is lost or invented."""
    expected, history, updates, _ = fitted(make())
    with mirrored.scope():
        model = make(steps_per_execution=steps_per_execution)
    weights, logs, iterations, called = fitted(model)
    assert (iterations, called) == (updates, calls) == (5, calls)
    np.testing.assert_allclose(weights, expected, rtol=1e-6)
    assert logs == pytest.approx({name: pytest.approx(v, rel=1e-6) for name, v in history.items()})
    if calls == 1:
        return
    x, y = arrays(23)  # the last batch has one example less than there are replicas' parts
    single = make()
    single.set_weights(model.get_weights())
    evaluation = model.evaluate(x, y, batch_size=11, verbose=0)
    assert evaluation == pytest.approx(single.evaluate(x, y, batch_size=11, verbose=0), rel=1e-6)
    predicted = model.predict(x, batch_size=11, verbose=0)
    np.testing.assert_allclose(predicted, single.predict(x, verbose=0), rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize(
    "clipping",
    [
        pytest.param({"clipnorm": 0.05}, marks=pytest.mark.release),
        {"global_clipnorm": 0.05},
        pytest.param({"clipvalue": 0.02}, marks=pytest.mark.release),
    ],
    ids=str,
)
def test_the_gradient_of_all_replicas_is_clipped(mirrored, clipping):
    def optimizer():
        return keras.optimizers.SGD(0.1, momentum=0.9, weight_decay=0.01, **clipping)

    expected = fitted(make(optimizer()))[0]
    with mirrored.scope():
        model = make(optimizer())
    np.testing.assert_allclose(fitted(model)[0], expected, rtol=1e-6)
    unclipped = fitted(make(keras.optimizers.SGD(0.1, momentum=0.9, weight_decay=0.01)))[0]
    assert np.abs(unclipped - expected).max() > 0.01  # it mattered


def one_number(y, y_pred):
    return keras.ops.mean(keras.ops.square(y - y_pred))


@pytest.mark.parametrize("method", ["fit", "evaluate"])
def test_a_loss_that_gives_one_number_is_refused(mirrored, method):
    """Each replica's number would count whole: twice the gradient, twice the loss."""
    with mirrored.scope():
        model = make()
        model.compile("sgd", one_number)
    with pytest.raises(UserError, match="^loss: expected a value for each example on several"):
        getattr(model, method)(*arrays(8), batch_size=8, verbose=0)


@pytest.mark.slow
@pytest.mark.parametrize(
    "reduction", ["sum_over_batch_size", "sum", pytest.param(None, marks=pytest.mark.release)]
)
def test_parts_of_unequal_size(mirrored, reduction):
    """23 examples in batches of 11: parts of 6 and 5, and at last of 1 and none."""
    x, y = arrays(23)

    def trained(model):
        loss = keras.losses.MeanSquaredError(reduction=reduction)
        model.compile(keras.optimizers.SGD(0.01), loss, metrics=["mae"])
        options = dict(batch_size=11, verbose=0)
        history = model.fit(x, y, shuffle=False, validation_data=(x, y), **options).history
        return np.concatenate([w.ravel() for w in model.get_weights()]), history

    expected, logs = trained(single := make())
    with mirrored.scope():
        model = make()
    weights, found = trained(model)
    np.testing.assert_allclose(weights, expected, rtol=1e-6)
    if reduction is None:  # one device counts a batch by the square of its size
        single.compile(loss="mse")
        logs["val_loss"] = [single.evaluate(x, y, verbose=0, return_dict=True)["loss"]]
        del found["loss"]
    for name, values in found.items():
        assert values == pytest.approx(logs[name], rel=1e-6), name


class AddsLoss(keras.layers.Layer):
    def call(self, x):
        self.add_loss(0.1 * keras.ops.mean(keras.ops.square(x)))
        return x


@pytest.mark.slow
def test_losses_that_layers_add(mirrored):
    """The replicas, which meet in the loss, read their own."""

    def model():
        keras.utils.set_random_seed(1)
        layers = [keras.layers.Dense(4, activity_regularizer="l2"), AddsLoss()]
        model = keras.Sequential([keras.Input((6,)), *layers, keras.layers.Dense(2)])
        model.compile(keras.optimizers.SGD(0.1), "mse")
        return model

    expected, logs, *_ = fitted(model())
    with mirrored.scope():
        replicas = model()
    weights, found, *_ = fitted(replicas)
    np.testing.assert_allclose(weights, expected, rtol=1e-5, atol=1e-7)
    assert found["loss"] == pytest.approx(logs["loss"], rel=1e-6)


@pytest.mark.slow
def test_averages_that_replace_the_weights(mirrored):
    def optimizer(**arguments):
        return keras.optimizers.SGD(0.1, use_ema=True, ema_momentum=0.5, **arguments)

    every = dict(ema_overwrite_frequency=2)
    expected = fitted(make(optimizer(**every)))[0]
    with mirrored.scope():
        model = make(optimizer(**every))
    np.testing.assert_allclose(fitted(model)[0], expected, rtol=1e-6)
    assert np.abs(fitted(make(optimizer()))[0] - expected).max() > 1e-3  # it mattered


class AddsItsMean(keras.layers.Layer):
    def call(self, x):
        self.add_loss(keras.ops.mean(keras.ops.square(x)))
        return x


@pytest.mark.parametrize("count", [23, 33])
def test_added_losses_of_uneven_parts_in_an_evaluation(mirrored, count):
    """The last batch has one example, so that a replica has none, or eleven."""
    x, y = arrays(count)
    values = []
    for strategy in (tf.distribute.get_strategy(), mirrored):
        keras.utils.set_random_seed(1)
        with strategy.scope():
            dense = keras.layers.Dense(2, kernel_regularizer="l2", activity_regularizer="l2")
            model = keras.Sequential([keras.Input((6,)), AddsItsMean(), dense])
            model.compile("sgd", "mse")
        values.append(model.evaluate(x, y, batch_size=22, verbose=0))
    assert values[1] == pytest.approx(values[0], rel=1e-6)
