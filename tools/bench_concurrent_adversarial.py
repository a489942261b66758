"""Measures what adversarial copies cost: ratios of times measured in turn in one run.

    python tools/bench_concurrent_adversarial.py                     about 10 minutes on 2 cores
    python tools/bench_concurrent_adversarial.py --rounds=5 --batch_size=64

Each line compares the train function of ConcurrentAdversarial with another way of training, on a
small ResNet at the same batch size:

    plain        the batch alone: one pass
    sequential   copies made with the present weights, in a separate pass before the others
    shared       copies made with the present weights in the pass over the batch, which gives both
                 gradients; then the pass over the copies: two passes in sequence

The step of ConcurrentAdversarial makes three passes, and the pass over the batch waits for no
other. Whether this saves time depends on whether a device would be idle otherwise. Models are
traced before anything is timed. Each figure is the median ratio of two times measured one after the
other, in alternating order, over the rounds; its quartiles are printed with it.
"""

import argparse
import functools
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

from lbkeras import data, models  # noqa: E402
from lbkeras.callbacks import ConcurrentAdversarial  # noqa: E402
from lbkeras.keras_internals.model import float_inputs, train_function  # noqa: E402

EPSILON = 8.0


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=15, help="timed pairs of each figure")
    parser.add_argument("--batch_size", type=int, default=128)
    parser.add_argument("--steps", type=int, default=2, help="steps per timing")
    parser.add_argument(
        "--cpu", action="store_true", help="time CPU seconds, which other processes hardly disturb"
    )
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    arguments = parser.parse_args()
    figures = []
    for other in ("plain", "sequential", "shared"):
        figures.append(_figure(other, arguments))
        print(_line(figures[-1]), flush=True)
    if arguments.json:
        arguments.json.write_text(json.dumps(figures, indent=2) + "\n")


def _figure(other: str, arguments) -> dict:
    train = data.Pipeline(_images(2 * arguments.batch_size), arguments.batch_size)
    callback, ours, theirs = ConcurrentAdversarial(train, EPSILON), _model(), _model()
    callback.set_model(ours)
    step = theirs.train_step if other == "plain" else _adversarial_step(theirs, other)
    runs = []
    for model, train_step in ((ours, ours.train_step), (theirs, step)):
        function, batches = train_function(model, train_step), iter(train.dataset().repeat())
        runs.append(functools.partial(_steps, function, batches, arguments.steps))
    clock = time.process_time if arguments.cpu else time.perf_counter
    pairs = timed_pairs(*runs, arguments.rounds, clock=clock)
    return {
        "other": other,
        "clock": clock.__name__,
        "batch_size": arguments.batch_size,
        **ratio_of(pairs),
        "milliseconds_a_step": 1000 * statistics.median(a for a, _ in pairs) / arguments.steps,
        "milliseconds_of_other": 1000 * statistics.median(b for _, b in pairs) / arguments.steps,
    }


def _steps(function, batches, steps: int) -> None:
    for _ in range(steps):
        logs = function(batches)
    float(logs["loss"])  # waits for the last step


def _adversarial_step(model, way: str):
    """Returns an ordinary adversarial train step, with copies made with the present weights."""
    weights = model.trainable_variables

    def loss_of(x, y):
        outputs = model(x, training=True)
        return model.compute_loss(x, y, outputs), outputs

    @tf.autograph.experimental.do_not_convert
    def step(batch):
        x, y = tf.cast(batch[0], tf.float32), batch[1]
        values = [v.value for v in weights]
        with float_inputs(model):
            with tf.GradientTape() as tape:
                tape.watch(x)
                loss, outputs = loss_of(x, y)
            if way == "shared":
                by_x, *clean = tape.gradient(loss, [x, *values])
            else:
                by_x = tape.gradient(loss, x)
                with tf.GradientTape() as tape:
                    loss, outputs = loss_of(x, y)
                clean = tape.gradient(loss, values)
            copies = tf.stop_gradient(x + EPSILON * tf.sign(by_x))
            with tf.GradientTape() as tape:
                other, _ = loss_of(copies, y)
            adversarial = tape.gradient(other, values)
        gradients = [(a + b) / 2 for a, b in zip(clean, adversarial, strict=True)]
        model.optimizer.apply_gradients(zip(gradients, weights, strict=True))
        return model.compute_metrics(x, y, outputs)

    return step


def _line(figure: dict) -> str:
    low, high = figure["quartiles"]
    return (
        f"small ResNet, batch {figure['batch_size']}, against {figure['other']}: ratio "
        f"{figure['ratio']:.3f} (quartiles {low:.3f} to {high:.3f}, n={figure['rounds']}; "
        f"{figure['milliseconds_a_step']:.1f} against {figure['milliseconds_of_other']:.1f} ms per "
        "step)"
    )


def _model():
    keras.utils.set_random_seed(0)
    model = models.cifar_resnet(8, 16, (32, 32, 3), 10)
    model.compile(
        keras.optimizers.SGD(0.01, momentum=0.9, nesterov=True),
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
