"""The batch size grows, the learning rate follows, and a killed run resumes with the same sizes."""

import json
import re

import keras
import numpy as np
import pytest

import lbkeras
from lbkeras.callbacks import (
    AdaptiveBatchSize,
    Checkpoint,
    GradientNoiseScale,
    MicroBatches,
    ProgressBar,
)
from lbkeras.data import Pipeline
from lbkeras.errors import UserError
from lbkeras.methods.adaptive_batch_size.callback import default_scaling
from lbkeras.planning import Phase, Plan


class Seen(keras.callbacks.Callback):
    """Records the optimizer's learning rate at the start of each epoch."""

    def __init__(self):
        super().__init__()
        self.rates = []

    def on_epoch_begin(self, epoch, logs=None):
        self.rates.append(float(keras.ops.convert_to_numpy(self.model.optimizer.learning_rate)))


def fit(compiled, digits, epochs=5, others=(), optimizer=None, verbose=0, **arguments):
    keras.utils.set_random_seed(0)
    model = compiled(optimizer or keras.optimizers.SGD(0.1))
    train = Pipeline(digits, 16)
    adaptive, seen = AdaptiveBatchSize(train, **arguments), Seen()
    history = model.fit(
        train, epochs=epochs, verbose=verbose, callbacks=[*others, adaptive, seen]
    ).history
    return model, adaptive, seen, history


@pytest.mark.slow
def test_it_grows_to_a_tenth_of_the_data_with_the_gain_on_the_rate(compiled, digits, tmp_path):
    file = tmp_path / "adaptive.json"
    model, adaptive, seen, history = fit(compiled, digits, epochs=9, file=file)
    sizes = history["batch_size"]
    assert sizes[0] == 16 and sizes[-1] == 128 and sizes == sorted(sizes)
    assert int(model.optimizer.iterations) == sum(1437 // size for size in sizes)
    decisions = json.loads(file.read_text())["decisions"]
    assert decisions == adaptive.decisions
    rates = [0.1]
    for row, variance, squared_norm in zip(
        decisions, history["gradient_variance"], history["gradient_squared_norm"], strict=True
    ):
        if row["next_batch_size"] > row["batch_size"]:
            assert row["lower"] >= row["next_batch_size"] and "; growing to " in row["reason"]
        scale, noise, norm = row["next_batch_size"] / 16, variance / 16, max(squared_norm, 0)
        rates.append(0.1 * (noise + norm) / (noise / scale + norm))
    np.testing.assert_allclose(seen.rates, rates[:-1], rtol=1e-5)
    np.testing.assert_allclose(history["learning_rate"], rates[:-1], rtol=1e-5)
    assert 1 < rates[-1] / 0.1 < 8


@pytest.mark.release  # the gate: the gain on the rate, above, and schedules' scaling_test.py
@pytest.mark.parametrize("scaling, power", [("square_root", 0.5), ("linear", 1), ("none", 0)])
def test_the_scaling_rules(compiled, digits, scaling, power):
    *_, seen, history = fit(compiled, digits, scaling=scaling)
    factors = np.asarray(history["batch_size"]) / 16
    assert max(factors) > 1
    np.testing.assert_allclose(seen.rates, 0.1 * factors**power, rtol=1e-6)


@pytest.mark.release  # the gate: test_the_scaling_that_suits_an_optimizer
def test_an_optimizer_that_divides_by_the_gradients_size_gets_the_square_root(compiled, digits):
    adam = keras.optimizers.Adam(0.001)
    _, adaptive, seen, history = fit(compiled, digits, optimizer=adam)
    rates = [0.001]
    for row, variance, squared_norm in zip(
        adaptive.decisions,
        history["gradient_variance"],
        history["gradient_squared_norm"],
        strict=True,
    ):
        scale, noise, norm = row["next_batch_size"] / 16, variance / 16, max(squared_norm, 0)
        rates.append(0.001 * ((noise + norm) / (noise / scale + norm)) ** 0.5)
    np.testing.assert_allclose(seen.rates, rates[:-1], rtol=1e-5)
    assert rates[-1] > 0.0011


@pytest.mark.parametrize(
    "optimizer, scaling",
    [
        (lambda: keras.optimizers.SGD(momentum=0.9), "gain"),
        (lambda: lbkeras.optimizers.SGDP(0.1), "gain"),
        (lambda: keras.optimizers.Adam(), "square_root_gain"),
        (lambda: keras.optimizers.AdamW(), "square_root_gain"),
        (lambda: keras.optimizers.RMSprop(), "square_root_gain"),
        (lambda: keras.optimizers.Adafactor(), "square_root_gain"),
        (lambda: keras.optimizers.Lion(), "square_root_gain"),
        (lambda: lbkeras.optimizers.LAMB(), "square_root_gain"),
        (lambda: lbkeras.optimizers.LARS(0.1), "square_root_gain"),
        (lambda: keras.optimizers.LossScaleOptimizer(keras.optimizers.Adam()), "square_root_gain"),
    ],
)
def test_the_scaling_that_suits_an_optimizer(optimizer, scaling):
    assert default_scaling(optimizer()) == scaling


@pytest.mark.release  # the gate: decision_test.py
def test_it_shrinks_if_the_target_is_far_below(compiled, digits):
    # The CABS target is rate * tr(Sigma) / loss; this rate makes it 1e-6 of the usual value.
    keras.utils.set_random_seed(0)
    train = Pipeline(digits, 64)
    model = compiled(keras.optimizers.SGD(1e-7))
    adaptive = AdaptiveBatchSize(train, rule="cabs", scaling="none", min_batch_size=16)
    history = model.fit(train, epochs=4, verbose=0, callbacks=[adaptive]).history
    assert history["batch_size"] == [64, 32, 16, 16]
    assert adaptive.decisions[-1]["reason"].endswith("16 is the smallest size")


@pytest.mark.release  # the gate: noise_scale/estimates_test.py
def test_the_cabs_target(compiled, digits):
    _, adaptive, _, history = fit(compiled, digits, rule="cabs", scaling="none")
    for row, variance, loss in zip(
        adaptive.decisions, history["gradient_variance"], history["loss"], strict=True
    ):
        assert row["lower"] == row["upper"] == pytest.approx(0.1 * variance / loss, rel=1e-6)


def test_a_plans_rates_are_scaled(compiled, digits):
    train = Pipeline(digits, 16)
    plan = Plan([Phase(0, 2, 16, 0.1, 0.0), Phase(2, 4, 16, 0.01, 0.0)], 1437)
    model, seen = compiled(keras.optimizers.SGD(3.0)), Seen()
    adaptive = AdaptiveBatchSize(train, plan=plan, scaling="square_root")
    history = model.fit(train, epochs=6, verbose=0, callbacks=[adaptive, seen]).history
    factors = np.sqrt(np.asarray(history["batch_size"]) / 16)
    np.testing.assert_allclose(seen.rates, factors * [0.1, 0.1, 0.01, 0.01, 0.01, 0.01], rtol=1e-6)


def test_with_micro_batches_nothing_is_probed(compiled, digits, capsys):
    train = Pipeline(digits, 16)
    model = keras.Sequential(
        [keras.Input((8, 8, 1)), keras.layers.Flatten(), keras.layers.Dense(10)]
    )
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.SGD(0.01), loss)
    adaptive = AdaptiveBatchSize(train)
    model.fit(train, epochs=2, callbacks=[adaptive, MicroBatches(train, 4), ProgressBar(train)])
    assert adaptive.noise.source == "training"
    out = capsys.readouterr().out
    assert "probe" not in out and "gradient_variance" not in out
    assert " · gradient_noise_scale " in out


class Killed(Exception):
    pass


class KillAt(keras.callbacks.Callback):
    def __init__(self, update):
        super().__init__()
        self.update = update

    def on_train_batch_end(self, batch, logs=None):
        if self.model.optimizer.iterations >= self.update:
            raise Killed


@pytest.mark.release  # the gate: callback_state_test.py and checkpoint_test.py
def test_a_run_killed_inside_an_epoch_decides_the_same_after_resuming(compiled, digits, tmp_path):
    def start(directory):
        keras.utils.set_random_seed(0)
        model, train = compiled(keras.optimizers.SGD(0.1, momentum=0.9)), Pipeline(digits, 16)
        adaptive = AdaptiveBatchSize(train)
        checkpoint = Checkpoint(tmp_path / directory, train, [adaptive], minutes=0)
        return model, adaptive, checkpoint, dict(x=train, epochs=6, verbose=0)

    whole, expected, checkpoint, arguments = start("whole")
    whole.fit(**arguments, callbacks=[expected, checkpoint])
    assert len({row["batch_size"] for row in expected.decisions}) > 1

    killed, adaptive, checkpoint, arguments = start("killed")
    with pytest.raises(Killed):
        killed.fit(**arguments, callbacks=[adaptive, checkpoint, KillAt(200)])
    assert adaptive.decisions

    resumed, adaptive, checkpoint, arguments = start("killed")
    first = checkpoint.restore(resumed)
    resumed.fit(**arguments, initial_epoch=first, callbacks=[adaptive, checkpoint])
    assert adaptive.decisions == expected.decisions
    for ours, value in zip(resumed.get_weights(), whole.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, value)


@pytest.mark.parametrize(
    "arguments, message",
    [
        (
            dict(min_batch_size=64, max_batch_size=32),
            "max_batch_size: expected at least min_batch_size=64, received 32",
        ),
        (
            dict(max_batch_size=2000),
            "max_batch_size: expected a whole number",
        ),
        (dict(rule="cab"), "rule: expected one of 'critical', 'cabs', received 'cab'"),
        (
            dict(scaling="sqrt"),
            "scaling: expected one of 'gain', 'square_root_gain', 'square_root', 'linear', "
            "'none', received 'sqrt'",
        ),
        (
            dict(plan=Plan([Phase(0, 1, 16, 0.1, 0), Phase(1, 1, 32, 0.1, 0)], 1437)),
            "plan: expected one with a single batch size, received 16, 32",
        ),
    ],
)
def test_messages(digits, arguments, message):
    with pytest.raises(UserError) as raised:
        AdaptiveBatchSize(Pipeline(digits, 16), **arguments)
    assert str(raised.value).startswith(message)


def test_a_second_callback_that_measures_gradients_is_refused(compiled, digits):
    train = Pipeline(digits, 16)
    with pytest.raises(UserError, match="GradientNoiseScale"):
        compiled(keras.optimizers.SGD(0.1)).fit(
            train, verbose=0, callbacks=[AdaptiveBatchSize(train), GradientNoiseScale(train)]
        )


@pytest.mark.slow
def test_after_a_rise_of_the_loss_it_goes_back_and_stays_there(compiled, digits, capsys):
    losses = iter([1.0, 0.9, 2.0, 1.5, 1.0, 0.9, 0.8])

    class Loss(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            logs["loss"] = next(losses)

    _, adaptive, _, history = fit(compiled, digits, epochs=7, others=[Loss()], verbose=2)
    sizes = history["batch_size"]
    assert sizes[:4] == [16, 32, 64, 32] and max(sizes[3:]) == 32
    assert adaptive.decisions[2]["reason"] == ("the loss rose after the batch grew; 32 at most")
    assert adaptive.largest == 32
    lines = [line for line in capsys.readouterr().out.splitlines() if " -> " in line]
    rate = r"learning rate 0\.\d+ -> 0\.\d+"
    why = r"\(gradient noise allows at least [\d,]+; growing to 32\)"
    grown = rf"Epoch 2: batch size 16 -> 32, {rate} {why}"
    assert re.fullmatch(grown, lines[0]), lines
    why = r"\(the loss rose after the batch grew; 32 at most\)"
    back = rf"Epoch 4: batch size 64 -> 32, {rate} {why}"
    assert re.fullmatch(back, lines[2]), lines
