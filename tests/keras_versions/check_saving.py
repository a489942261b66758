"""Saved models and checkpoints: what comes back, and that training resumes from it."""

import keras
import numpy as np
import pytest

import lbkeras
from lbkeras.callbacks import BatchSizeScheduler, Checkpoint
from lbkeras.data import Pipeline
from lbkeras.planning import Phase, Plan

PLAN = Plan(
    [Phase(0, 1, 128, 0.05, 0.9), Phase(1, 1, 256, 0.1, 0.9), Phase(2, 2, 400, 0.1, 0.9)], 1437
)
STEPS = (11, 5, 3, 3)


def make(seed=1):
    keras.utils.set_random_seed(seed)
    x = inputs = keras.Input((8, 8, 1))
    x = keras.layers.Flatten()(keras.layers.Rescaling(1 / 16)(x))
    x = keras.layers.Dense(16, activation="relu", name="first")(x)
    x = lbkeras.layers.GhostBatchNormalization(32)(x)
    branch = keras.layers.Dense(16, name="second")(x)
    x = keras.layers.add([x, lbkeras.layers.ShakeDrop(0.8, seed=3)(branch)])
    hidden = keras.Model(inputs, x, name="body")
    head = lbkeras.layers.HadamardClassifier(10, name="logits")
    model = keras.Sequential([keras.Input((8, 8, 1)), hidden, head])
    optimizer = lbkeras.optimizers.LARS(
        PLAN.learning_rate_schedule(), trust_coefficient=0.1, weight_decay=1e-3
    )
    optimizer.exclude_from_weight_decay(var_names=["first/kernel"])
    loss = lbkeras.losses.LabelSmoothingCrossentropy(0.1, from_logits=True)
    model.compile(optimizer, loss, metrics=["accuracy"])
    return model


def fit(model, digits, first, last, *callbacks):
    train = Pipeline(digits, 128)
    callbacks = [BatchSizeScheduler(train, PLAN), *callbacks]
    model.fit(train, initial_epoch=first, epochs=last, verbose=0, callbacks=callbacks)


def state(model):
    return [np.asarray(keras.ops.convert_to_numpy(v))
            for v in [*model.variables, *model.optimizer.variables]]  # fmt: skip


def assert_equal(ours, expected):
    for a, b in zip(ours, expected, strict=True):
        np.testing.assert_array_equal(a, b)


def assert_close(ours, expected):
    """A graph for any batch size rounds differently from one for this batch size."""
    for a, b in zip(ours, expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


def seeds(model):
    return [v for v in model.non_trainable_variables if "seed" in v.path]


def without_seeds(model):
    found = [*model.variables, *model.optimizer.variables]
    return [np.asarray(keras.ops.convert_to_numpy(v)) for v in found if "seed" not in v.path]


def test_saved_and_loaded(digits, tmp_path):
    model = make()
    fit(model, digits, 0, 2)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert_equal(without_seeds(loaded), without_seeds(model))
    assert int(loaded.optimizer.iterations) == sum(STEPS[:2])
    images = digits[0][:100]
    assert_equal([loaded.predict(images, verbose=0)], [model.predict(images, verbose=0)])
    decays = [[each.optimizer.decay_of(i) for i in range(len(each.trainable_variables))]
              for each in (model, loaded)]  # fmt: skip
    assert decays[0] == decays[1] and decays[0].count(1e-3) == 1
    for ours, theirs in zip(seeds(loaded), seeds(model), strict=True):
        ours.assign(
            keras.ops.convert_to_numpy(theirs).copy()
        )  # of random generators a file has none
    before = state(loaded)
    for each in (model, loaded):
        fit(each, digits, 2, 4)
    assert int(loaded.optimizer.iterations) == sum(STEPS)
    assert_close(state(loaded), state(model))
    moved = [np.abs(a - b).max() for a, b in zip(before, state(loaded), strict=True)]
    assert max(moved[:4]) > 1e-3


class Killed(Exception):
    pass


class KillAt(keras.callbacks.Callback):
    """Simulates a power cut after a call's last update."""

    def __init__(self, epoch, batch):
        super().__init__()
        self.where = epoch, batch

    def on_epoch_begin(self, epoch, logs=None):
        self.epoch = epoch

    def on_train_batch_end(self, batch, logs=None):
        if (self.epoch, batch) == self.where:
            raise Killed


@pytest.mark.parametrize("epoch, batch", [(0, 10), (1, 2)], ids=["last step", "inside"])
def test_checkpoint(digits, tmp_path, epoch, batch):
    whole = make()
    fit(whole, digits, 0, 4)

    def run(model, *kill):
        train = Pipeline(digits, 128)
        others = [BatchSizeScheduler(train, PLAN)]
        checkpoint = Checkpoint(tmp_path, train, others, minutes=0.0)
        first = checkpoint.restore(model)
        callbacks = [*others, checkpoint, *kill]
        model.fit(train, initial_epoch=first, epochs=4, verbose=0, callbacks=callbacks)
        return first

    with pytest.raises(Killed):
        run(make(), KillAt(epoch, batch))
    resumed = make(seed=2)
    assert run(resumed) == epoch
    assert int(resumed.optimizer.iterations) == sum(STEPS)
    assert_close(state(resumed), state(whole))
