"""Trains with a quarter of the memory that the batch needs; compares with enough memory.

As a script, `python memory_test.py CASE` runs one case and prints its curves.
"""

import functools
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

BUDGET = 52  # MB, for the data, the weights and the step
LARGE, SMALL, EXAMPLES = 768, 64, 1536
ROOT = Path(__file__).parents[3]

# Batch size of each epoch, and steps_per_execution. There are few runs, since TensorFlow waits 10 s
# in each failed attempt. The first step is large, since memory that was allocated in small regions
# has no room for a large tensor.
RUNS = {
    "first step": ((LARGE, LARGE), 1),
    "grown batch, several steps per call": ((SMALL, LARGE), 3),
}
CASES = {  # replicas, and the runs of one process
    "enough": (1, list(RUNS)),
    "first step": (1, ["first step"]),
    "grown batch": (1, ["grown batch, several steps per call"]),
    "two replicas": (2, ["first step"]),
}


def main(case: str):
    replicas, names = CASES[case]

    import tensorflow as tf

    cpu = tf.config.list_physical_devices("CPU")[0]
    devices = [tf.config.LogicalDeviceConfiguration()] * replicas
    tf.config.set_logical_device_configuration(cpu, devices)

    from lbkeras import distribution

    strategy = distribution.strategy("mirrored") if replicas > 1 else tf.distribute.get_strategy()
    tf.config.experimental.reset_memory_stats("CPU:0")
    results = {}
    for name in names:
        results[name] = fit(strategy, *RUNS[name])
    results["peak"] = tf.config.experimental.get_memory_info("CPU:0")["peak"] / 2**20
    print("RESULT", json.dumps(results))


def fit(strategy, batch_sizes, steps_per_execution):
    import keras

    from lbkeras.callbacks import BatchSizeScheduler, MicroBatches
    from lbkeras.data import Pipeline

    class Losses(keras.callbacks.Callback):
        def on_train_begin(self, logs=None):
            self.losses = []

        def on_train_batch_end(self, batch, logs=None):
            self.losses.append(float(logs["loss"]))

    keras.utils.set_random_seed(0)
    generator = np.random.default_rng(0)
    images = generator.integers(0, 256, (EXAMPLES, 24, 24, 1), dtype=np.uint8)
    train = Pipeline((images, generator.integers(0, 10, EXAMPLES)), batch_sizes[0], seed=2)
    with strategy.scope():
        layers = [keras.Input((24, 24, 1)), keras.layers.Rescaling(1 / 255)]
        for _ in range(3):
            layers += [keras.layers.Conv2D(24, 1), keras.layers.ReLU()]
        layers += [keras.layers.GlobalAveragePooling2D(), keras.layers.Dense(10)]
        model = keras.Sequential(layers)
        model.compile(
            keras.optimizers.SGD(0.3, momentum=0.9),
            keras.losses.SparseCategoricalCrossentropy(from_logits=True),
            steps_per_execution=steps_per_execution,
        )
    losses, micro_batches = Losses(), MicroBatches(train)
    scheduler = BatchSizeScheduler(train, lambda epoch, size: batch_sizes[epoch])
    model.fit(train, epochs=2, verbose=0, callbacks=[micro_batches, scheduler, losses])
    return dict(
        losses=losses.losses,
        updates=int(model.optimizer.iterations.numpy()),
        micro_batch_size=micro_batches.micro_batch_size,
        weights=[float(np.abs(w).sum()) for w in model.get_weights()],
    )


def start(case: str, megabytes: int):
    limit = {
        "TF_CPU_ALLOCATOR_USE_BFC": "1",
        "TF_CPU_BFC_MEM_LIMIT_IN_MB": str(megabytes),
        "TF_ENABLE_ONEDNN_OPTS": "0",  # its convolutions crash when memory runs out
        "PYTHONPATH": str(ROOT),
    }
    return subprocess.Popen(
        [sys.executable, __file__, case],
        env={**os.environ, **limit},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def result(process):
    output, error = process.communicate(timeout=500)
    assert process.returncode == 0, error[-3000:]
    lines = output.splitlines()
    return json.loads(lines[-1].removeprefix("RESULT ")), lines[:-1]


@pytest.fixture(scope="module")
def started():
    """A function that returns the process of a case, which runs in parallel with the others."""
    processes = {}

    def of(case):
        if case not in processes:
            processes[case] = start(case, 8000 if case == "enough" else BUDGET)
        return processes[case]

    of("enough")
    yield of
    for process in processes.values():
        process.kill()
        process.wait()


@pytest.fixture(scope="module")
def undivided(started):
    """A function that returns the result on one device with enough memory."""
    return functools.cache(lambda: result(started("enough")))


@pytest.mark.release  # the gate has callback_test.py, which simulates the lack of memory
@pytest.mark.parametrize("case", ["first step", "grown batch", "two replicas"])
def test_the_same_curve_in_a_quarter_of_the_memory(case, started, undivided):
    process, replicas = started(case), CASES[case][0]
    (expected, nothing), (ours, lines) = undivided(), result(process)
    # Two logical CPUs share one allocator.
    assert expected["peak"] > 4 * BUDGET >= 4 * ours.pop("peak")
    # Replicas share the memory and peak at varying moments, so a later step may halve again.
    assert nothing == [] and len(lines) >= len(ours)
    assert all(line.startswith(f"out of memory: batch size {LARGE} on") for line in lines)
    for name in ours:
        assert expected[name]["micro_batch_size"] is None
        assert ours[name]["micro_batch_size"] < LARGE // replicas / 2
        assert ours[name]["updates"] == expected[name]["updates"]
        np.testing.assert_allclose(ours[name]["losses"], expected[name]["losses"], rtol=1e-5)
        # Biases are near zero; undivided runs with one and with two threads also differ by 5e-5.
        a, b = ours[name]["weights"], expected[name]["weights"]
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-4)


if __name__ == "__main__":
    main(sys.argv[1])
