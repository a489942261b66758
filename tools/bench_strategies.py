"""Compares `model.fit` under MirroredStrategy with one replica to no strategy.

    python tools/bench_strategies.py                     5 minutes on 2 cores
    python tools/bench_strategies.py --rounds=21 --batch_size=1024

It trains a small ResNet (8 layers of 8 to 32 channels) on images in memory, with Pipeline and
BatchSizeScheduler. Each measurement is one epoch, and both models are traced before anything is
timed. Each figure is the median ratio of two times measured one after the other, in alternating
order, over the rounds; its quartiles are printed with it. The target is at most 1.05 at a step of
100 ms or more. If other programs are running, look at the processor time.
"""

import argparse
import os
import statistics
import sys
import time
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import keras  # noqa: E402
import numpy as np  # noqa: E402
import tensorflow as tf  # noqa: E402

from lbkeras import callbacks, data, distribution, models  # noqa: E402


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=9, help="timed pairs")
    parser.add_argument("--steps", type=int, default=10, help="updates per measurement")
    parser.add_argument("--batch_size", type=int, default=512)
    arguments = parser.parse_args()
    device = (tf.config.list_logical_devices("GPU") or tf.config.list_logical_devices("CPU"))[0]
    distribution.patch_keras()
    fits = [
        _fit(strategy, arguments.batch_size, arguments.steps)
        for strategy in (
            tf.distribute.MirroredStrategy([device.name]),
            distribution.strategy("one"),
        )
    ]
    for fit in fits:
        fit()
    ratios, steps = {"wall clock": [], "processor time": []}, []
    for number in range(arguments.rounds):
        seconds = [None, None]
        for which in (0, 1) if number % 2 else (1, 0):
            seconds[which] = fits[which]()
        for name, mirrored_seconds, seconds_without in zip(ratios, *seconds, strict=True):
            ratios[name].append(mirrored_seconds / seconds_without)
        steps.append(seconds[1][0] / arguments.steps)
    print(
        f"MirroredStrategy with one replica / no strategy, {arguments.rounds} rounds, "
        f"{statistics.median(steps) * 1e3:.0f} ms per step at batch {arguments.batch_size} without"
    )
    for name, values in ratios.items():
        low, median, high = statistics.quantiles(values, n=4)
        print(f"  {name:<15} {median:.3f} ({low:.3f} to {high:.3f})")


def _fit(strategy, batch_size: int, steps: int):
    """Returns a function that trains an epoch and returns its wall time and processor time."""
    generator = np.random.default_rng(0)
    images = generator.integers(0, 256, (batch_size * steps, 32, 32, 3), np.uint8)
    labels = generator.integers(0, 10, batch_size * steps)
    keras.utils.set_random_seed(0)
    with strategy.scope():
        model = models.cifar_resnet(8, 8, (32, 32, 3), 10)
        model.compile(
            optimizer=keras.optimizers.SGD(0.1, momentum=0.9),
            loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
            metrics=["accuracy"],
        )
    train = data.Pipeline((images, labels), batch_size)
    scheduler = callbacks.BatchSizeScheduler(train, lambda epoch, size: size)

    def fit():
        start = time.perf_counter(), time.process_time()
        model.fit(train, callbacks=[scheduler], verbose=0)
        return time.perf_counter() - start[0], time.process_time() - start[1]

    return fit


if __name__ == "__main__":
    main()
