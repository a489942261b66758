"""A `.keras` file saved while callbacks control the learning rate opens with its state."""

import json
import subprocess
import sys

import keras
import numpy as np
import pytest

from lbkeras import callbacks, planning
from lbkeras.data import Pipeline

PLAN = planning.noise_scale_plan(
    strategy="hybrid", epochs=4, boundaries=(2,), factor=2.0, learning_rate=0.1, momentum=0.9,
    batch_size=16, max_batch_size=32, num_examples=64,
)  # fmt: skip

READ = """
import json, sys
{imports}
read = []
for path in sys.argv[1:]:
    model = keras.models.load_model(path)
    optimizer = model.optimizer
    slots = [v.numpy().tolist() for v in optimizer.variables[-2:]]
    read.append([slots, int(optimizer.iterations), float(optimizer.learning_rate)])
    model.fit(keras.ops.ones((8, 2)), keras.ops.ones((8, 1)), verbose=0)
print(json.dumps([read, "lbkeras" in sys.modules]))
"""


@pytest.fixture(scope="module")
def data():
    x = np.random.default_rng(0).normal(size=(64, 2)).astype("float32")
    return x, x[:, :1] * 2


def a_model(rate):
    keras.utils.set_random_seed(1)
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    model.compile(keras.optimizers.SGD(rate, momentum=0.9), "mse")
    return model


class Save(keras.callbacks.Callback):
    """Saves the model when the second epoch ends, and remembers what the file must contain."""

    def __init__(self, path):
        super().__init__()
        self.path = path

    def on_epoch_end(self, epoch, logs=None):
        if epoch == 1:
            self.model.save(self.path)
            optimizer = self.model.optimizer
            slots = [v.numpy().tolist() for v in optimizer.variables[-2:]]
            self.state = [slots, int(optimizer.iterations), float(optimizer.learning_rate)]


def planned(train):
    return PLAN.learning_rate_schedule(), [callbacks.BatchSizeScheduler(train, PLAN)]


def adaptive(train):
    return 0.1, [callbacks.AdaptiveBatchSize(train), callbacks.MicroBatches(train, 4)]


@pytest.fixture(scope="module")
def saved(data, tmp_path_factory):
    """Returns the callback that saved a file in a `fit`, by what controlled the learning rate."""
    made = {}
    for steer in (planned, adaptive):
        train = Pipeline(data, 16)
        rate, chosen = steer(train)
        made[steer] = Save(tmp_path_factory.mktemp("saved") / "middle.keras")
        a_model(rate).fit(train, epochs=4, verbose=0, callbacks=[*chosen, made[steer]])
    return made


@pytest.mark.parametrize("steer", [planned, adaptive])
def test_in_this_process(saved, steer):
    optimizer = keras.models.load_model(saved[steer].path).optimizer
    slots = [v.numpy().tolist() for v in optimizer.variables[-2:]]
    assert np.any(slots[0])
    state = [slots, int(optimizer.iterations), float(optimizer.learning_rate)]
    assert state[:2] == saved[steer].state[:2]
    assert state[2] == pytest.approx(saved[steer].state[2])


@pytest.mark.slow
@pytest.mark.parametrize(
    "imports", ["import keras", pytest.param("import keras, lbkeras", marks=pytest.mark.release)]
)
def test_in_another_process(saved, imports):
    paths = [save.path for save in saved.values()]
    code = READ.format(imports=imports)
    run = subprocess.run([sys.executable, "-c", code, *paths], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    read, has_lbkeras = json.loads(run.stdout)
    assert has_lbkeras == ("lbkeras" in imports)
    for state, save in zip(read, saved.values(), strict=True):
        assert state[:2] == save.state[:2]
        assert state[2] == pytest.approx(save.state[2])


def test_a_plan_continues_from_the_file(data, tmp_path):
    train = Pipeline(data, 16)
    model, save = a_model(PLAN.learning_rate_schedule()), Save(tmp_path / "middle.keras")
    scheduler = callbacks.BatchSizeScheduler(train, PLAN)
    model.fit(train, epochs=4, verbose=0, callbacks=[scheduler, save])
    assert "ExponentialDecay" not in str(model.optimizer.get_config())  # the plan's schedule again

    again = Pipeline(data, 16)
    loaded = keras.models.load_model(save.path)
    loaded.fit(
        again,
        epochs=4,
        initial_epoch=2,
        verbose=0,
        callbacks=[callbacks.BatchSizeScheduler(again, PLAN)],
    )
    for mine, its in zip(model.get_weights(), loaded.get_weights(), strict=True):
        np.testing.assert_array_equal(mine, its)
