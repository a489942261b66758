"""Checks a Pipeline on Keras' JAX backend without TensorFlow, on four host devices.

Arguments: a folder with TensorFlow's results, and "release" to run only the check on four devices.
Prints one line per check: its name and "passed", or what was raised.
"""

import importlib.machinery
import json
import os
import sys
import traceback
from pathlib import Path

_find_spec = importlib.machinery.PathFinder.find_spec
importlib.machinery.PathFinder.find_spec = lambda name, *arguments: (
    None if name in ("tensorflow", "tensorflow_datasets") else _find_spec(name, *arguments)
)
os.environ["KERAS_BACKEND"] = "jax"
os.environ["XLA_FLAGS"] = (
    "--xla_force_host_platform_device_count=4 --xla_backend_optimization_level=0"
)

import keras  # noqa: E402
import numpy as np  # noqa: E402
import pytest  # noqa: E402

from lbkeras.callbacks import BatchSizeScheduler  # noqa: E402
from lbkeras.data import Pipeline  # noqa: E402
from lbkeras.errors import UserError  # noqa: E402
from lbkeras.keras_internals.running_call import running_call  # noqa: E402
from lbkeras.planning import Phase, Plan  # noqa: E402
from tests.data.same_on_both import batches_of, images, model_of, pipelines, train_20  # noqa: E402
from tests.jax_compilations import Compilations  # noqa: E402

FOLDER = Path(sys.argv[1])
RELEASE = "release" in sys.argv


def check_the_batches_are_those_of_tensorflow():
    expected = np.load(FOLDER / "batches.npz")
    made = batches_of(pipelines())
    assert set(made) == set(expected)
    for key, batch in made.items():
        np.testing.assert_array_equal(batch, expected[key], err_msg=key)


def check_twenty_updates_give_the_weights_of_tensorflow():
    expected = np.load(FOLDER / "weights.npz")
    for optimizer in ("SGD", "LARS"):
        weights = train_20(optimizer, FOLDER / "initial.npz")
        assert len(weights) == 7
        for number, weight in enumerate(weights):
            other = expected[f"{optimizer}_{number}"]
            assert np.abs(weight - other).max() <= 1e-4 * max(1, np.abs(other).max())


def _trained(devices: int):
    """Returns weights and history of a model with batch norm, trained on several devices."""
    if devices > 1:
        names = [f"cpu:{number}" for number in range(devices)]
        keras.distribution.set_distribution(keras.distribution.DataParallel(devices=names))
    try:
        x, y = images(96)
        plan = Plan([Phase(0, 2, 16, 0.05, 0.9), Phase(2, 2, 48, 0.05, 0.9)], 96)
        keras.utils.set_random_seed(0)
        model = model_of(ghosts=4)
        model.compile(
            keras.optimizers.SGD(plan.learning_rate_schedule(), 0.9),
            keras.losses.SparseCategoricalCrossentropy(from_logits=True),
            metrics=["accuracy"],
        )
        train = Pipeline((x, y), 16)
        test = Pipeline((x[:33], y[:33]), 16, shuffle=False)  # one example is left over
        history = model.fit(
            train, epochs=4, validation_data=test, verbose=0,
            callbacks=[BatchSizeScheduler(train, plan)],
        )  # fmt: skip
        assert int(model.optimizer.iterations) == plan.updates() == 16
        assert len(model.trainable_variables[0].value.sharding.device_set) == devices
        numbers = [number for values in history.history.values() for number in values]
        return [*model.get_weights(), np.array(numbers)]
    finally:
        keras.distribution.set_distribution(None)


def check_several_devices_equal_one():
    _check_equal_to_one(4 if RELEASE else 2)


def _check_equal_to_one(devices: int):
    for ours, expected in zip(_trained(devices), _trained(1), strict=True):
        np.testing.assert_allclose(ours, expected, rtol=1e-5, atol=1e-5)


def check_devices_that_do_not_divide_a_batch():
    x, y = images(32)
    devices = keras.distribution.DataParallel(devices=["cpu:0", "cpu:1"])
    keras.distribution.set_distribution(devices)
    try:
        model = model_of()
        model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
        expected = "^batch_size: expected a multiple of the 2 replicas"
        with pytest.raises(UserError, match=expected):
            model.fit(Pipeline((x, y), 7), verbose=0)
    finally:
        keras.distribution.set_distribution(None)


def check_coming_sizes_are_compiled_once_and_before_they_come():
    x, y = images(64)
    plan = Plan([Phase(0, 3, 8, 0.05, 0.9), Phase(3, 2, 32, 0.05, 0.9)], 64)
    model = model_of()
    model.compile(
        keras.optimizers.SGD(plan.learning_rate_schedule(), 0.9),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    )
    train = Pipeline((x, y), 8)
    with Compilations() as compilations:
        callbacks = [BatchSizeScheduler(train, plan), compilations]
        model.fit(train, epochs=5, verbose=0, callbacks=callbacks)
    [epochs] = compilations.epochs.values()
    assert len(epochs) == 2 and max(epochs) < 3, epochs


def check_what_is_no_data_for_jax():
    x, y = images(8)
    for source, message in (
        ((x, np.array(["a"] * 8)), "expected numbers on Keras' JAX backend, received strings"),
        ((x, y.astype("int64") + 2**40), "expected integers from -2147483648 to 2147483647"),
        ((batch for batch in [(x, y)]), "expected arrays, or an object with len"),
    ):
        with pytest.raises(UserError, match=f"^source: {message}"):
            Pipeline(source, 4)
    with pytest.raises(UserError, match="^shuffle: expected True or False on Keras' JAX backend"):
        Pipeline((x, y), 4, shuffle="shards")
    with pytest.raises(UserError, match="^augment: expected a function .* received one that fails"):
        Pipeline((x, y), 4, augment=lambda x, seed: x.numpy())
    with pytest.raises(UserError, match="^augment: expected 4 rows, as in its input, received"):
        Pipeline((x, y), 4, augment=lambda x, seed: x[:2])
    with pytest.raises(UserError, match="^augment: expected random numbers made from"):
        Pipeline((x, y), 4, augment=lambda x, seed: x + np.random.randint(9))  # noqa: NPY002
    noise = keras.layers.GaussianNoise(1.0)
    with pytest.raises(UserError, match="^augment: .* received one that changes a variable"):
        Pipeline((x, y), 4, augment=lambda x, seed: noise(x, training=True))
    assert noise(np.zeros((2, 3), "float32"), training=True).shape == (2, 3)  # left intact


class _WithoutHash:
    __hash__ = None

    def __init__(self, number):
        self.number = number

    def __eq__(self, other):
        return True

    def __call__(self, x, seed):
        return x + self.number


def check_an_augment_is_known_by_its_identity():
    x, y = images(8)
    for number in (1, 2):
        made = Pipeline((x, y), 4, shuffle=False, augment=_WithoutHash(np.uint8(number)))
        first, _ = next(made.dataset().as_numpy_iterator())
        np.testing.assert_array_equal(first, x[:4] + np.uint8(number))


def check_labels_beyond_the_outputs():
    x, y = images(8)
    model = model_of()
    model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    with pytest.raises(UserError, match="^source: expected labels from 0 to 9"):
        model.fit(Pipeline((x, y + 10), 4), verbose=0)
    assert running_call() == ("", {})


class _Object:
    """Examples that are read one by one, or several at once."""

    def __init__(self, x, y):
        self.x, self.y = x, y

    def __len__(self):
        return len(self.x)

    def __getitem__(self, place):
        return self.x[place], self.y[place]


def check_an_object_gives_the_batches_of_arrays():
    x, y = images(40)

    def decode(example, seed):
        return example[0] + seed[1].astype("uint8"), example[1]

    whole = list(Pipeline((x, y), 16, seed=5).dataset(3).as_numpy_iterator())
    read = list(Pipeline(_Object(x, y), 16, seed=5).dataset(3).as_numpy_iterator())
    decoded = Pipeline(_Object(x, y), 16, seed=5, decode=decode).dataset(3, start_step=1)
    for number, ((x1, y1), (x2, y2)) in enumerate(zip(whole, read, strict=True)):
        np.testing.assert_array_equal(x1, x2)
        np.testing.assert_array_equal(y1, y2)
        if number == 1:
            [(x3, _)] = decoded.as_numpy_iterator()
            places = np.arange(16, 32, dtype="uint8")[:, None, None, None]
            np.testing.assert_array_equal(x3, x1 + places)


class _OneBuffer(_Object):
    """Returns the same array each time, with new contents."""

    def __getitem__(self, place):
        self.buffer = getattr(self, "buffer", np.empty_like(self.x[0]))
        self.buffer[...] = self.x[place]
        return self.buffer, self.y[place]


class _Several(_Object):
    def __getitems__(self, places):
        return [self[place] for place in places]


def check_an_object_may_reuse_a_buffer_and_read_several_at_once():
    x, y = images(40)
    expected = next(Pipeline((x, y), 16, seed=5).dataset(3).as_numpy_iterator())
    for made in (_OneBuffer(x, y), _Several(x, y)):
        for decode in (None, lambda example, seed: example):
            data = Pipeline(made, 16, seed=5, decode=decode)
            np.testing.assert_array_equal(next(data.dataset(3).as_numpy_iterator())[0], expected[0])
            assert data.in_order(8, 20).num_examples == 20


def check_a_place_that_cannot_be_read_is_named():
    x, y = images(40)

    class Broken(_Object):
        def __getitem__(self, place):
            return super().__getitem__(place if place < 35 else "none")

    with pytest.raises(UserError, match="^source: expected an example at place 3[5-9], received"):
        list(Pipeline(Broken(x, y), 8, shuffle=False).dataset())


def check_data_too_large_for_the_device_give_the_same_batches():
    given = pipelines()["augmented"]
    expected = list(given.dataset(1).as_numpy_iterator())
    given._reader.data._whole._fits = lambda: False
    given._reader.data._whole._on_device.clear()
    for (x1, y1), (x2, y2) in zip(expected, given.dataset(1).as_numpy_iterator(), strict=True):
        np.testing.assert_array_equal(x1, x2)
        np.testing.assert_array_equal(y1, y2)


if __name__ == "__main__":
    for name, check in list(globals().items()):
        if name.startswith("check_") and (not RELEASE or name == "check_several_devices_equal_one"):
            try:
                check()
                said = "passed"
            except Exception:
                said = traceback.format_exc()
            print(json.dumps([name, said]), flush=True)
