"""Measures what GradientNoiseScale costs: ratios of wall times, measured in turn in one run.

    python tools/bench_gradient_noise_scale.py                   about 2 minutes on 2 cores
    python tools/bench_gradient_noise_scale.py --rounds=31 --batch_size=256 --clock=cpu

Each line compares `fit` with GradientNoiseScale to the same `fit` without it, on a small ResNet: in
4 micro-batches, on two replicas (two logical CPUs), and in 4 micro-batches with Adam, whose
gradients are preconditioned. The last line is the probe, for runs without micro-batches and
replicas: its time for a number of examples, divided by the time of training on as many. Models are
traced before anything is timed. Each figure is the median ratio of two times measured one after the
other, in alternating order, over the rounds; its quartiles are printed with it.
"""

import argparse
import contextlib
import json
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
from interleaved import ratio_of, timed_pairs  # noqa: E402

from lbkeras import data, distribution, models  # noqa: E402
from lbkeras.callbacks import GradientNoiseScale  # noqa: E402
from lbkeras.keras_internals.model import train_function  # noqa: E402
from lbkeras.trainers import GradientStatistics, micro_batch_train_step  # noqa: E402

_clock = time.perf_counter


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=25, help="timed pairs of each figure")
    parser.add_argument("--batch_size", type=int, default=128)
    parser.add_argument("--steps", type=int, default=2, help="steps of each timed fit")
    parser.add_argument(
        "--clock", choices=("wall", "cpu"), default="wall", help="cpu: for a busy machine"
    )
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    arguments = parser.parse_args()
    global _clock
    _clock = time.perf_counter if arguments.clock == "wall" else time.process_time
    cpu = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
    mirrored = distribution.strategy("mirrored")
    figures = []
    for name, optimizer, strategy in (
        ("4 micro-batches", _sgd, None),
        ("2 replicas", _sgd, mirrored),
        ("4 micro-batches, Adam", keras.optimizers.Adam, None),
    ):
        figures.append(_figure(name, optimizer, strategy, arguments))
        print(_line(figures[-1]), flush=True)
    figures.append(_probe(arguments))
    print(
        f"probe of {figures[-1]['examples']} examples: {figures[-1]['ratio']:.2f} of the time of "
        "training on them"
    )
    if arguments.json:
        arguments.json.write_text(json.dumps(figures, indent=2) + "\n")


def _figure(name: str, optimizer, strategy, arguments) -> dict:
    train = data.Pipeline(_images(arguments.batch_size * arguments.steps), arguments.batch_size)
    measured, plain = (_model(optimizer, strategy) for _ in range(2))
    preconditioned = optimizer is not _sgd
    # Attached as by the callbacks, and kept for all calls of `fit`.
    GradientStatistics(measured, preconditioned=preconditioned).attach()
    for model in (measured, plain):
        if strategy is None:
            step = micro_batch_train_step(model, arguments.batch_size // 4)
            model.train_function = train_function(model, step)

    fits = (lambda model=model: model.fit(train, verbose=0) for model in (measured, plain))
    pairs = timed_pairs(*fits, arguments.rounds, warmups=2, clock=_clock)
    return {
        "name": name,
        "batch_size": arguments.batch_size,
        **ratio_of(pairs),
        "milliseconds_a_step": 1000 * statistics.median(b for _, b in pairs) / arguments.steps,
    }


def _line(figure: dict) -> str:
    low, high = figure["quartiles"]
    return (
        f"small ResNet, batch {figure['batch_size']}, {figure['name']}: ratio "
        f"{figure['ratio']:.4f} (quartiles {low:.3f} to {high:.3f}, n={figure['rounds']}; "
        f"{figure['milliseconds_a_step']:.1f} ms per step without)"
    )


class _ProbeTimes(GradientNoiseScale):
    """Records the seconds of each probe."""

    def _add_probe(self, *arguments):
        begin = _clock()
        super()._add_probe(*arguments)
        self.seconds = [*getattr(self, "seconds", []), _clock() - begin]


class _EpochTimes(keras.callbacks.Callback):
    """Records the seconds of each epoch's training."""

    def __init__(self):
        super().__init__()
        self.seconds = []

    def on_epoch_begin(self, epoch, logs=None):
        self._begin = _clock()

    def on_epoch_end(self, epoch, logs=None):
        self.seconds.append(_clock() - self._begin)


def _probe(arguments) -> dict:
    examples = 4 * arguments.batch_size
    train = data.Pipeline(_images(examples), arguments.batch_size)
    probe, epochs = _ProbeTimes(train, probe_examples=examples), _EpochTimes()
    model = _model(_sgd, None)
    model.fit(train, epochs=arguments.rounds // 2 + 2, verbose=0, callbacks=[epochs, probe])
    # The first of each traces and is left out.
    pairs = list(zip(probe.seconds[1:], epochs.seconds[1:], strict=True))
    return {"name": "probe", "examples": examples, "rounds": len(pairs),
            "ratio": statistics.median(a / b for a, b in pairs)}  # fmt: skip


def _sgd():
    return keras.optimizers.SGD(0.01, momentum=0.9, nesterov=True)


def _model(optimizer, strategy):
    keras.utils.set_random_seed(0)
    with strategy.scope() if strategy else contextlib.nullcontext():
        model = models.cifar_resnet(8, 16, (32, 32, 3), 10)
        model.compile(
            optimizer(),
            keras.losses.SparseCategoricalCrossentropy(from_logits=True),
            metrics=["accuracy"],
        )
    return model


def _images(count: int):
    generator = np.random.default_rng(0)
    images = generator.integers(0, 256, (count, 32, 32, 3), dtype=np.uint8)
    return images, generator.integers(0, 10, count).astype(np.int32)


if __name__ == "__main__":
    main()
