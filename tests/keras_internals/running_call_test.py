"""Finds the arguments of the running `fit`, `evaluate` or `predict` on Keras' stack."""

import keras
import numpy as np
import pytest

from lbkeras.keras_internals.running_call import callbacks_of, running_call

X, Y = np.zeros((4, 2), "float32"), np.zeros((4, 1), "float32")


def compiled(kind=keras.Model):
    inputs = keras.Input((2,))
    model = kind(inputs, keras.layers.Dense(1)(inputs))
    model.compile("sgd", "mse")
    return model


class Look(keras.callbacks.Callback):
    """Records the running call at each hook."""

    def __init__(self):
        super().__init__()
        self.seen = {}

    def on_train_begin(self, logs=None):
        self.seen["train"] = running_call(self.model)
        self.seen["of another"] = running_call(compiled())

    def on_test_begin(self, logs=None):
        self.seen["test"] = running_call()

    def on_predict_begin(self, logs=None):
        self.seen["predict"] = running_call()


def test_nothing_runs():
    assert running_call() == ("", {})


def test_arguments_of_fit_and_of_the_evaluation_inside():
    look, model = Look(), compiled()
    model.fit(
        X,
        Y,
        batch_size=2,
        epochs=3,
        initial_epoch=2,
        class_weight={0: 1.0},
        callbacks=[look],
        validation_data=(X[:2], Y[:2]),
        verbose=0,
    )
    name, arguments = look.seen["train"]
    assert name == "fit" and arguments["x"] is X and arguments["y"] is Y
    chosen = {key: arguments[key] for key in ("batch_size", "epochs", "initial_epoch")}
    assert chosen == {"batch_size": 2, "epochs": 3, "initial_epoch": 2}
    assert arguments["class_weight"] == {0: 1.0} and arguments["sample_weight"] is None
    assert arguments["steps_per_epoch"] is None and "self" not in arguments
    assert look in callbacks_of(arguments)
    assert look.seen["of another"] == ("", {})
    name, arguments = look.seen["test"]
    assert name == "evaluate" and len(arguments["x"]) == 2


def test_evaluate_and_predict():
    look, model = Look(), compiled()
    model.evaluate(X, Y, callbacks=[look], verbose=0)
    model.predict(X, callbacks=[look], verbose=0)
    for name, key in (("evaluate", "test"), ("predict", "predict")):
        found, arguments = look.seen[key]
        assert found == name and arguments["x"] is X
        assert look in callbacks_of(arguments)


def test_a_users_own_fit():
    class Mine(keras.Model):
        def fit(self, pairs, callbacks):
            return super().fit(*pairs, callbacks=callbacks, verbose=0)

    look = Look()
    compiled(Mine).fit((X, Y), [look])
    assert look.seen["train"][1]["x"] is X


@pytest.mark.parametrize("form", [lambda c: [c], lambda c: (c,), lambda c: c])
def test_forms_of_the_callbacks(form):
    callback = Look()
    assert callbacks_of({"callbacks": form(callback)}) == [callback]


def test_a_callback_list_and_none():
    callback = Look()
    given = keras.callbacks.CallbackList([callback], model=compiled())
    assert callback in callbacks_of({"callbacks": given})
    assert callbacks_of({"callbacks": None}) == callbacks_of({}) == []
