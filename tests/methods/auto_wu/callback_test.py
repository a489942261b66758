"""AutoWU in real training: the losses it gets, its decisions and the resulting learning rates."""

import json
import math
from pathlib import Path

import keras
import numpy as np
import pytest

from lbkeras.callbacks import AutoWU, BatchSizeScheduler, Checkpoint
from lbkeras.callbacks.optimizer_settings import last_learning_rate
from lbkeras.data import Pipeline
from lbkeras.errors import UserError
from lbkeras.methods.auto_wu import callback as auto_wu
from lbkeras.methods.auto_wu.judgement import Judgement
from lbkeras.optimizers import AdamP
from lbkeras.planning import auto_wu_plan, cosine_plan
from tests.distribution.workers import run_workers


class Killed(Exception):
    pass


class Rates(keras.callbacks.Callback):
    """Records the learning rate of each update; stops the run after update `kill`."""

    def __init__(self, kill=None):
        super().__init__()
        self.rates, self.kill = [], kill

    def on_train_batch_end(self, batch, logs=None):
        self.rates.append(last_learning_rate(self.model.optimizer))
        if self.kill is not None and self.model.optimizer.iterations >= self.kill:
            raise Killed


def new_plan(epochs=8, **more):
    settings = dict(epochs=epochs, batch_size=256, momentum=0.9, num_examples=1437)
    return auto_wu_plan(**settings | more)


@pytest.fixture
def says(monkeypatch):
    """Returns a function that scripts the judgements: (votes, place) for each epoch."""

    def script(*answers):
        heard = []

        def judge(epochs, state=None, seed=0):
            heard.append([len(losses) for losses in epochs])
            votes, place = answers[len(epochs) - 1]
            mean = np.zeros(500)
            return Judgement(votes, (place,) * 5, mean, mean + 0.1, [float(len(epochs))])

        monkeypatch.setattr(auto_wu, "judge", judge)
        return heard

    return script


def exponential(epoch, longest, low=1e-5, high=1.0):
    return low * (high / low) ** (epoch / longest)


def test_learning_rates_until_the_switch_and_after_it(compiled, digits, says, capsys):
    heard = says((0, 1.0), (3, 0.5), (5, 0.4), (4, 0.75))
    plan = new_plan(epochs=12)
    train, rates = Pipeline(digits, 256), Rates()
    model = compiled(keras.optimizers.SGD(3.0, momentum=0.9))
    callback = AutoWU(train, plan)
    history = model.fit(train, epochs=12, verbose=2, callbacks=[callback, rates]).history
    assert heard == [[5] * number for number in range(1, 5)]
    peak = exponential(0.75 * 4, 6)
    expected = [exponential(update / 5, 6) for update in range(20)]
    expected += [peak * (1 + math.cos(math.pi * update / 40)) / 2 for update in range(40)]
    np.testing.assert_allclose(rates.rates, expected, rtol=1e-5, atol=1e-9)
    assert (callback.warmup_epochs, callback.peak_learning_rate) == (4, pytest.approx(peak))
    assert history["auto_wu_warming_up"] == [1, 1, 1] + [0] * 9
    assert history["auto_wu_votes"] == [0, 3, 5, 4]
    minima = [exponential(place, 6) for place in (1.0, 0.5 * 2, 0.4 * 3, 0.75 * 4)]
    assert history["auto_wu_minimum_learning_rate"] == pytest.approx(minima)
    assert history["auto_wu_peak_learning_rate"] == pytest.approx([peak] * 9)
    assert history["auto_wu_warmup_epochs"] == [4] * 9
    assert (
        "Epoch 5: learning rate 0.02154 -> 0.003162 (the loss has passed its minimum), weights as "
        "at the end of epoch 3\n" in capsys.readouterr().out
    )
    assert float(model.optimizer.learning_rate) == 3  # its own again


def test_three_positive_epochs_in_a_row_are_needed(compiled, digits, says, capsys):
    says((3, 0.5), (3, 0.5), (2, 0.5), (5, 0.5))
    train, rates = Pipeline(digits, 256), Rates()
    callback = AutoWU(train, new_plan(epochs=9))  # the longest warm-up ends inside epoch 4
    compiled().fit(train, epochs=9, verbose=2, callbacks=[callback, rates])
    expected = [exponential(update / 5, 4.5) for update in range(23)]
    expected += [(1 + math.cos(math.pi * (update / 5 - 4.5) / 4.5)) / 2 for update in range(23, 45)]
    np.testing.assert_allclose(rates.rates, expected, rtol=1e-5, atol=1e-9)
    assert (callback.warmup_epochs, callback.peak_learning_rate) == (4.5, 1.0)
    assert "Epoch 5: learning rate decays from 1 (the longest warm-up is over)\n" in (
        capsys.readouterr().out
    )


@pytest.mark.release
def test_a_batch_size_that_changes_leaves_the_rates_over_epochs(compiled, digits, says):
    says((0, 1.0), (5, 0.9), (5, 0.8), (5, 0.7))
    train, rates = Pipeline(digits, 256), Rates()
    sizes = (256, 64, 512, 128, 256, 512, 64, 256)
    callbacks = [BatchSizeScheduler(train, lambda epoch, size: sizes[epoch])]
    callbacks += [AutoWU(train, new_plan()), rates]
    model = compiled(keras.optimizers.SGD(1.0, momentum=0.9))
    model.fit(train, epochs=8, verbose=0, callbacks=callbacks)
    updates = [1437 // size for size in sizes]
    epochs = [number + j / n for number, n in enumerate(updates) for j in range(n)]
    peak = exponential(0.7 * 4, 4)
    expected = [
        exponential(epoch, 4) if epoch < 4 else peak * (1 + math.cos(math.pi * (epoch / 4 - 1))) / 2
        for epoch in epochs
    ]
    np.testing.assert_allclose(rates.rates, expected, rtol=1e-5, atol=1e-9)


@pytest.fixture(scope="module")
def one_device(compiled, digits):
    return train_for_real(compiled(keras.optimizers.SGD(1.0, momentum=0.9)), digits)


def train_for_real(model, digits, plan=None, size=64):
    plan = plan or new_plan(epochs=8, batch_size=64, max_learning_rate=8.0)
    train = Pipeline(digits, size)
    callback = AutoWU(train, plan)
    history = model.fit(train, epochs=plan.epochs, verbose=0, callbacks=[callback]).history
    return callback, history


def assert_decides_like(one_device, callback):
    expected, _ = one_device
    np.testing.assert_allclose(
        np.concatenate(callback.losses), np.concatenate(expected.losses), rtol=1e-3, atol=1e-4
    )
    assert [each["votes"] for each in callback.decisions] == [
        each["votes"] for each in expected.decisions
    ]
    assert callback.warmup_epochs == expected.warmup_epochs
    assert callback.peak_learning_rate == pytest.approx(expected.peak_learning_rate, rel=0.01)


@pytest.mark.release
def test_several_steps_per_execution(compiled, digits, one_device):
    optimizer = keras.optimizers.SGD(1.0, momentum=0.9)
    callback, _ = train_for_real(compiled(optimizer, steps_per_execution=8), digits)
    assert_decides_like(one_device, callback)


@pytest.mark.release  # the gate runs step_losses_test.py: replicas have the losses of one device
def test_two_replicas_decide_like_one_device(compiled, digits, one_device, mirrored):
    with mirrored.scope():
        model = compiled(keras.optimizers.SGD(1.0, momentum=0.9))
    callback, _ = train_for_real(model, digits)
    assert_decides_like(one_device, callback)
    assert any(each["positive"] for each in callback.decisions)


@pytest.mark.release
def test_two_workers_decide_the_same(tmp_path):
    script = Path(__file__).with_name("auto_wu_workers_script.py")
    first, second = run_workers(script, tmp_path, "multi_worker", num_workers=2)
    assert first.keys() == second.keys()
    for name, values in first.items():
        np.testing.assert_array_equal(values, second[name], name)
    (alone,) = run_workers(script, tmp_path, "one")
    assert alone["votes"].tolist() == first["votes"].tolist()
    for name in ("losses", "minima", "stopped", "kernel"):
        np.testing.assert_allclose(first[name], alone[name], rtol=1e-2, atol=1e-4, err_msg=name)


@pytest.mark.release  # the gate: test_learning_rates_until_the_switch_and_after_it
def test_finds_a_learning_rate_for_digits(compiled, digits):
    """With AdamP the loss passes its minimum before half of the training; the run recovers."""
    plan = new_plan(epochs=24, batch_size=32, momentum=0.0)
    model = compiled(AdamP(1.0), hidden=32, steps_per_execution=4)
    callback, history = train_for_real(model, digits, plan, size=32)
    assert callback.warmup_epochs < 12 and 1e-3 < callback.peak_learning_rate < 0.3
    assert history["accuracy"][-1] > 0.95


class LastState(keras.callbacks.Callback):
    def on_epoch_end(self, epoch, logs=None):
        self.values = [v.numpy() for v in self.model.variables + self.model.optimizer.variables]


def start(compiled, digits, folder):
    """Returns a model and a run's checkpoint: 12 epochs of 5 updates, up to 6 epochs of warm-up."""
    keras.backend.clear_session(free_memory=False)
    model = compiled(AdamP(1.0), hidden=8)
    train = Pipeline(digits, 256, seed=5)
    scheduler = BatchSizeScheduler(train, lambda epoch, size: size)
    others = [scheduler, AutoWU(train, new_plan(epochs=12, momentum=0.0), seed=3), LastState()]
    return model, Checkpoint(folder, train, others, minutes=0)


def fit(model, checkpoint, *more):
    first = checkpoint.restore(model)
    callbacks = [*checkpoint.callbacks, checkpoint, *more]
    arguments = dict(epochs=12, initial_epoch=first, verbose=0, callbacks=callbacks)
    return model.fit(checkpoint.pipeline, **arguments).history


@pytest.fixture(scope="module")
def undisturbed(compiled, digits, tmp_path_factory):
    """The history and callbacks of such a run without interruption."""
    model, checkpoint = start(compiled, digits, tmp_path_factory.mktemp("whole"))
    return fit(model, checkpoint), checkpoint.callbacks


@pytest.mark.parametrize(
    "kill",
    [
        pytest.param(4, marks=pytest.mark.release),
        pytest.param(13, marks=pytest.mark.release),
        pytest.param(20, marks=pytest.mark.release),
        pytest.param(27, marks=pytest.mark.release),
    ],
)  # the gate kills one run, in epoch_copies_test.py
def test_killed_and_resumed_it_decides_the_same(compiled, digits, tmp_path, undisturbed, kill):
    expected, (_, theirs, last) = undisturbed
    killed, checkpoint = start(compiled, digits, tmp_path)
    with pytest.raises(Killed):
        fit(killed, checkpoint, Rates(kill=kill))
    resumed, checkpoint = start(compiled, digits, tmp_path)
    history = fit(resumed, checkpoint)
    ours = checkpoint.callbacks[1]
    assert ours.decisions == theirs.decisions and ours.state == theirs.state
    assert ours.warmup_epochs == theirs.warmup_epochs
    for name, values in history.items():
        assert values == expected[name][len(expected[name]) - len(values) :], name
    for a, b in zip(checkpoint.callbacks[2].values, last.values, strict=True):
        np.testing.assert_array_equal(a, b)


def test_the_file_for_the_plot(compiled, digits, says, tmp_path):
    says((0, 1.0), (5, 0.9), (5, 0.8), (5, 0.5))
    train = Pipeline(digits, 256)
    callback = AutoWU(train, new_plan(), file=tmp_path / "run" / "auto_wu.json")
    compiled().fit(train, epochs=8, verbose=0, callbacks=[callback])
    content = json.loads(callback.file.read_text())
    assert content["warmup_epochs"] == 4 and content["epochs"] == 8
    assert content["peak_learning_rate"] == pytest.approx(exponential(0.5 * 4, 4))
    assert content["loss"]["epoch"] == pytest.approx(np.arange(20) / 5)
    np.testing.assert_allclose(content["loss"]["value"], np.concatenate(callback.losses), 1e-5)
    assert [each["votes"] for each in content["decisions"]] == [0, 5, 5, 5]
    assert content["posterior"]["epoch"][-1] <= 4 and len(content["posterior"]["mean"]) == 100


def test_a_constant_loss_never_stops_the_warm_up(compiled, digits):
    model, train = compiled(), Pipeline(digits, 256)
    model.compile(keras.optimizers.SGD(1.0), loss=lambda y, output: 0 * output[:, 0] + 1.5)
    callback = AutoWU(train, new_plan(epochs=6, momentum=0.0))
    model.fit(train, epochs=6, verbose=0, callbacks=[callback])
    assert [each["votes"] for each in callback.decisions] == [0, 0, 0]
    assert callback.peak_learning_rate == 1.0


def test_nan_losses_are_left_out(compiled, digits):
    """Some batches have a NaN loss; masking their gradients keeps the weights finite."""
    model, train = compiled(), Pipeline(digits, 256)

    def loss(labels, output):
        values = keras.ops.sparse_categorical_crossentropy(labels, output, from_logits=True)
        broken = keras.ops.cast(labels[0], "int32") == 0  # the first label of a batch
        return values + keras.ops.where(broken, np.nan, 0.0)

    class KeepsWeights(keras.optimizers.SGD):
        def update_step(self, gradient, variable, learning_rate):
            gradient = keras.ops.where(keras.ops.isnan(gradient), 0.0, gradient)
            super().update_step(gradient, variable, learning_rate)

    model.compile(KeepsWeights(1.0), loss=loss)
    callback = AutoWU(train, new_plan(epochs=10, momentum=0.0))
    model.fit(train, epochs=10, verbose=0, callbacks=[callback])
    losses = np.concatenate(callback.losses)
    assert 0 < np.isnan(losses).sum() < len(losses)
    assert all(math.isfinite(each["minimum_learning_rate"]) for each in callback.decisions)


# Errors.


def test_a_plan_of_another_kind():
    train = Pipeline((np.zeros((8, 2)), np.zeros(8)), 4)
    plan = cosine_plan(epochs=8, batch_size=4, learning_rate=0.1, momentum=0.9, num_examples=8)
    for other, received in ((plan, "another plan"), (0.1, "float")):
        with pytest.raises(UserError) as raised:
            AutoWU(train, other)
        assert str(raised.value) == f"plan: expected an auto_wu_plan, received {received}"


def test_more_epochs_than_the_plan_has(compiled, digits):
    model, train = compiled(), Pipeline(digits, 256)
    with pytest.raises(UserError) as raised:
        model.fit(train, epochs=9, verbose=0, callbacks=[AutoWU(train, new_plan(epochs=8))])
    assert str(raised.value) == "epochs: expected at most the plan's 8, received fit(epochs=9)"
    assert float(model.optimizer.learning_rate) == pytest.approx(0.1)


def test_autowu_refuses_a_schedule(compiled, digits):
    plan = new_plan()
    model = compiled(keras.optimizers.SGD(plan.learning_rate_schedule(), momentum=0.9))
    train = Pipeline(digits, 256)
    with pytest.raises(UserError, match="AutoWU and the optimizer's EpochLearningRateSchedule"):
        model.fit(train, epochs=8, verbose=0, callbacks=[AutoWU(train, plan)])


def test_autowu_refuses_accumulated_gradients(compiled, digits):
    """With accumulation Keras passes a schedule batches, while `iterations` counts updates."""
    optimizer = keras.optimizers.SGD(1.0, momentum=0.9, gradient_accumulation_steps=2)
    train = Pipeline(digits, 256)
    with pytest.raises(UserError) as raised:
        compiled(optimizer).fit(train, epochs=8, verbose=0, callbacks=[AutoWU(train, new_plan())])
    assert str(raised.value) == (
        "gradient_accumulation_steps: expected none with AutoWU (callbacks.MicroBatches "
        "computes a larger batch in pieces), received 2"
    )


def test_a_model_that_does_not_report_its_loss(digits):
    class Silent(keras.Sequential):
        def train_step(self, data):
            self.optimizer.iterations.assign_add(1)
            return {"loss": keras.ops.sum(self.layers[-1].bias)}

    model = Silent([keras.Input((8, 8, 1)), keras.layers.Flatten(), keras.layers.Dense(10)])
    model.compile(keras.optimizers.SGD(0.1), "mse")
    train = Pipeline(digits, 256)
    with pytest.raises(UserError, match="model: expected one whose train step .*received Silent"):
        plan = new_plan(momentum=0.0)
        model.fit(train, epochs=8, verbose=0, callbacks=[AutoWU(train, plan)])
