"""Measures what micro-batches cost: ratios of wall times, measured in turn in one run.

    python tools/bench_micro_batches.py                          about 5 minutes on 2 cores
    python tools/bench_micro_batches.py --rounds=21 --batch_size=256

Each line compares `fit` with MicroBatches to Keras' own undivided step, on a small ResNet at the
same global batch size: in 2 pieces, in 4 pieces, and undivided (the cost for a run that never
divides a batch). Models are traced before anything is timed. Each figure is the median ratio of two
times measured one after the other, in alternating order, over the rounds; its quartiles are printed
with it.
"""

import argparse
import json
import os
import statistics
import sys
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import keras  # noqa: E402
import numpy as np  # noqa: E402
from interleaved import ratio_of, timed_pairs  # noqa: E402

from lbkeras import data, models  # noqa: E402
from lbkeras.keras_internals.model import train_function  # noqa: E402
from lbkeras.trainers import UpdateProgress, micro_batch_train_step  # noqa: E402


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=15, help="timed pairs of each figure")
    parser.add_argument("--batch_size", type=int, default=128)
    parser.add_argument("--steps", type=int, default=2, help="steps of each timed fit")
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    arguments = parser.parse_args()
    figures = []
    for pieces in (2, 4, 1):
        figures.append(_figure(pieces, arguments))
        print(_line(figures[-1]), flush=True)
    if arguments.json:
        arguments.json.write_text(json.dumps(figures, indent=2) + "\n")


def _figure(pieces: int, arguments) -> dict:
    train = data.Pipeline(_images(arguments.batch_size * arguments.steps), arguments.batch_size)
    plain, ours = _model(), _model()
    micro_batch_size = arguments.batch_size // pieces if pieces > 1 else None
    progress = UpdateProgress(ours.distribute_strategy)
    step = micro_batch_train_step(ours, micro_batch_size, progress)
    ours.train_function = train_function(ours, step)  # as the callback MicroBatches does

    fits = (lambda model=model: model.fit(train, verbose=0) for model in (ours, plain))
    pairs = timed_pairs(*fits, arguments.rounds)
    return {
        "pieces": pieces,
        "batch_size": arguments.batch_size,
        **ratio_of(pairs),
        "milliseconds_a_step": 1000 * statistics.median(a for a, _ in pairs) / arguments.steps,
        "milliseconds_of_keras": 1000 * statistics.median(b for _, b in pairs) / arguments.steps,
    }


def _line(figure: dict) -> str:
    low, high = figure["quartiles"]
    return (
        f"small ResNet, batch {figure['batch_size']}, {figure['pieces']} "
        f"piece{'s' * (figure['pieces'] > 1)}: ratio {figure['ratio']:.3f} (quartiles {low:.3f} "
        f"to {high:.3f}, n={figure['rounds']}; {figure['milliseconds_a_step']:.1f} against "
        f"{figure['milliseconds_of_keras']:.1f} ms per step)"
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
