import time

import keras
import numpy as np
import pytest

from lbkeras import optimizers
from lbkeras.callbacks import BatchSizeScheduler, ProgressBar, TrainingStatistics
from lbkeras.data import Pipeline
from lbkeras.planning import Phase, Plan


class StopAt(keras.callbacks.Callback):
    def __init__(self, update):
        super().__init__()
        self.update = update

    def on_train_batch_end(self, batch, logs=None):
        if self.model.optimizer.iterations == self.update:
            self.model.stop_training = True


@pytest.mark.parametrize("steps_per_execution", [1, pytest.param(4, marks=pytest.mark.slow)])
def test_columns(compiled, digits, steps_per_execution):
    plan = Plan(
        [Phase(0, 1, 128, 0.1, 0.9), Phase(1, 1, 256, 0.1, 0.9), Phase(2, 1, 512, 0.05, 0.5)], 1437
    )
    model = compiled(
        keras.optimizers.SGD(plan.learning_rate_schedule(), 0.9),
        steps_per_execution=steps_per_execution,
    )
    train = Pipeline(digits, 128)
    callbacks = [BatchSizeScheduler(train, plan), TrainingStatistics(train)]
    before = time.perf_counter()
    history = model.fit(train, epochs=3, verbose=0, callbacks=callbacks).history
    elapsed = time.perf_counter() - before
    assert history["updates"] == [11, 16, 18]
    assert history["examples_seen"] == [1408, 1408 + 1280, 1408 + 1280 + 1024]
    assert history["batch_size"] == [128, 256, 512]
    # The learning rate of the last update; the next one already has the next phase's.
    assert history["learning_rate"] == [0.1, 0.1, 0.05]
    assert history["momentum"] == [0.9, 0.9, 0.5]
    assert history["noise_scale"] == pytest.approx(
        [0.1 * 1437 / 128 / 0.1, 0.1 * 1437 / 256 / 0.1, 0.05 * 1437 / 512 / 0.5]
    )
    assert 0 < sum(history["seconds"]) < elapsed
    for seconds, speed, examples in zip(
        history["seconds"], history["examples_per_second"], (1408, 1280, 1024), strict=True
    ):
        assert speed == pytest.approx(examples / seconds)


def test_an_epoch_that_was_stopped_and_an_optimizer_without_momentum(compiled, digits):
    model, train = compiled(keras.optimizers.Adam(0.01)), Pipeline(digits, 256)
    statistics = TrainingStatistics(train)
    scheduler = BatchSizeScheduler(train, lambda epoch, size: size)
    callbacks = [scheduler, statistics, StopAt(7)]
    history = model.fit(train, epochs=3, verbose=0, callbacks=callbacks).history
    assert history["updates"] == [5, 7] and history["examples_seen"] == [1280, 1792]
    assert history["momentum"] == [0.0, 0.0]
    assert history["noise_scale"] == pytest.approx([0.01 * 1437 / 256] * 2)
    assert history["examples_per_second"][1] == pytest.approx(512 / history["seconds"][1])


def test_without_a_scheduler(compiled, digits):
    train = Pipeline(digits, 500)
    history = compiled().fit(train, epochs=2, verbose=0, callbacks=[TrainingStatistics(train)])
    assert history.history["examples_seen"] == [1000, 2000]
    assert history.history["batch_size"] == [500, 500]


def test_evaluation_is_left_out_of_the_seconds(compiled, digits, monkeypatch):
    """With a fake clock on which a step takes 2 s and an evaluation 1,000 s."""

    class Clock(keras.callbacks.Callback):
        now = 0.0

        def perf_counter(self):
            return self.now

        def on_train_batch_end(self, batch, logs=None):
            self.now += 2

        def on_test_begin(self, logs=None):
            self.now += 1000

    clock, model, train = Clock(), compiled(), Pipeline(digits, 500)
    monkeypatch.setattr("lbkeras.callbacks.training_statistics.time", clock)
    callbacks = [clock, TrainingStatistics(train)]
    history = model.fit(train, epochs=2, verbose=0, validation_data=digits, callbacks=callbacks)
    assert history.history["seconds"] == [4, 4]


@pytest.mark.parametrize("name", ["LARS", "LAMB"])
def test_trust_ratios_of_the_last_update(compiled, digits, name, capsys):
    """They are logged by layer, and the bar does not print them."""
    optimizer = getattr(optimizers, name)(1.0)
    model, train = compiled(optimizer, hidden=8), Pipeline(digits, 1437)
    statistics = TrainingStatistics(train)
    (dense, head) = [layer for layer in model.layers if isinstance(layer, keras.layers.Dense)]
    before = dense.kernel.numpy()
    history = model.fit(train, verbose=2, callbacks=[statistics, ProgressBar(train)]).history
    step = np.linalg.norm(dense.kernel.numpy() - before)
    logged = {tag: values for tag, values in history.items() if tag.startswith("trust_ratio")}
    assert set(logged) == {f"trust_ratio/{dense.name}", f"trust_ratio/{head.name}"}
    # With LARS a step's length is rate * 0.001 * |w|, with LAMB rate * |w|.
    weight = np.linalg.norm(before)
    ratio = logged[f"trust_ratio/{dense.name}"][0]
    assert step == pytest.approx(weight * (0.001 if name == "LARS" else 1), rel=1e-4)
    assert 0 < ratio < np.inf and ratio != 1
    assert "trust_ratio" not in capsys.readouterr().out
