"""lbkeras.advise: a plan for the user's own model."""

import keras
import numpy as np
import pytest

import lbkeras
from lbkeras.errors import UserError
from lbkeras.planning import explicit_plan


def data(examples=512):
    x = np.random.default_rng(0).normal(size=(examples, 4)).astype("float32")
    return x, (x.sum(axis=1, keepdims=True) + 0.1 * x[:, :1] ** 2)


def make_model(optimizer=None):
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(1)])
    model.compile(optimizer or keras.optimizers.SGD(0.01, momentum=0.5), "mse")
    return model


def plan(epochs=4, momentum=0.5, examples=512):
    phase = dict(first_epoch=0, epochs=epochs, batch_size=8, learning_rate=0.01, momentum=momentum)
    return explicit_plan(phases=[phase], num_examples=examples)


@pytest.mark.slow
def test_it_recommends_what_it_measures(capsys):
    advice = lbkeras.advise(make_model, lbkeras.data.Pipeline(data(), 8), epochs=4)
    assert advice.baseline == plan()
    assert advice.plan.epochs == 4 and advice.plan.num_examples == 512
    sizes = [phase.batch_size for phase in advice.plan.phases]
    assert sizes == sorted(sizes) and set(advice.probes) >= {8, *sizes}
    assert "measuring: training 2 of 4 epochs" in capsys.readouterr().err
    text = str(advice)
    assert "own" in text and "recommended" in text and " 1. 2 epochs were trained" in text
    assert text.splitlines()[0] in advice._repr_html_()


@pytest.mark.parametrize(
    "arguments, message",
    [
        (dict(), "epochs: expected the number of epochs, or a plan, received neither"),
        (dict(epochs=3, plan=plan()), "epochs: expected None with a plan, received 3"),
        (dict(epochs=2), "epochs: expected more than the 2 epochs that are measured"),
        (dict(plan=plan(examples=40)), "train: expected at least 64 examples"),
        (dict(plan=plan(examples=100)), "plan: expected one for 512 examples"),
        (dict(plan="cosine"), "plan: expected a Plan or None"),
        (dict(epochs=4, make_model=lambda: None), "make_model: expected a compiled keras.Model"),
        (dict(epochs=4, train=data(3)), "train: expected at least 64 examples"),
    ],
)
def test_what_cannot_be_measured_is_refused(arguments, message):
    arguments = dict(make_model=make_model, train=data()) | arguments
    with pytest.raises(UserError, match=message):
        lbkeras.advise(**arguments, verbose=0)


def test_a_model_instead_of_a_function_is_refused():
    with pytest.raises(UserError, match="make_model: expected a function"):
        lbkeras.advise(make_model(), data(), epochs=4)


def test_a_schedule_in_steps_needs_a_plan():
    schedule = keras.optimizers.schedules.CosineDecay(0.1, 100)
    with pytest.raises(UserError, match="plan: expected a plan, .* schedule .CosineDecay"):
        lbkeras.advise(lambda: make_model(keras.optimizers.SGD(schedule)), data(), epochs=4)
