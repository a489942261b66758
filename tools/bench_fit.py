"""Measures what lbkeras costs in `model.fit`: ratios of wall times, measured in turn in one run.

    python tools/bench_fit.py                      all parts, about 10 minutes on 2 cores
    python tools/bench_fit.py --part=overhead --rounds=9

Parts:
  overhead    `fit` with Pipeline, BatchSizeScheduler, statistics, history file and TensorBoard at a
              constant batch size, against plain Keras `fit` on an equal tf.data pipeline; for a
              small ResNet at batch size 128 and for a model whose step takes about 1 ms
  phases      one `fit` whose batch size grows over four phases, against the sum of four plain fits
  executions  each arm of smith2018:digits with the steps_per_execution that the command line
              chooses, against 1

Models are traced before anything is timed. Each figure is the median ratio of two times measured
one after the other, in alternating order, over the rounds; its quartiles are printed with it.
"""

import argparse
import json
import os
import statistics
import sys
import tempfile
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import keras  # noqa: E402
import numpy as np  # noqa: E402
import tensorflow as tf  # noqa: E402
from interleaved import ratio_of, timed_pairs  # noqa: E402

from configs.papers import smith2018  # noqa: E402
from lbkeras import callbacks, data, models, planning  # noqa: E402
from lbkeras.runs import build, experiment  # noqa: E402
from lbkeras.runs.steps_per_execution import choose_steps_per_execution  # noqa: E402


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--part", choices=[*PARTS, "all"], default="all")
    parser.add_argument("--rounds", type=int, default=7, help="timed pairs of each figure")
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    arguments = parser.parse_args()
    figures = []
    for name, part in PARTS.items():
        if arguments.part in (name, "all"):
            for figure in part(arguments.rounds):
                figures.append({"part": name, **figure})
                print(_line(figures[-1]), flush=True)
    if arguments.json:
        arguments.json.write_text(json.dumps(figures, indent=2) + "\n")


def overhead(rounds: int):
    """Compares lbkeras with plain Keras at one batch size."""
    small_resnet = models.cifar_resnet(8, 8, (32, 32, 3), 10)
    yield _overhead("small ResNet, batch 128", small_resnet, _images(2560, (32, 32, 3)), 2, rounds)
    one_millisecond = models.mlp((8, 8, 1), 10, hidden_sizes=(256, 256))
    digits = _images(12_800, (8, 8, 1))
    yield _overhead("1 ms model, batch 128", one_millisecond, digits, 5, rounds)


def _overhead(name, model, arrays, epochs, rounds):
    batch_size = 128
    plan = planning.steps_plan(
        epochs=epochs,
        boundaries=(),
        learning_rates=(0.01,),
        batch_size=batch_size,
        momentum=0.9,
        num_examples=len(arrays[0]),
    )
    _compile(model, 0.01)
    steps = epochs * plan.steps_per_epoch(0)
    plain_data = _plain_dataset(arrays, batch_size)
    pipeline = data.Pipeline(arrays, batch_size)

    with tempfile.TemporaryDirectory() as folder:
        ours = _our_callbacks(pipeline, plan, Path(folder))
        times = timed_pairs(
            lambda: model.fit(pipeline, epochs=epochs, callbacks=ours, verbose=0),
            lambda: model.fit(plain_data, epochs=epochs, verbose=0),
            rounds,
        )
    return _figure(name, times, steps)


def phases(rounds: int):
    """Compares one fit over four phases with four plain fits."""
    arrays = _images(5_120, (32, 32, 3))
    sizes = (64, 128, 256, 512)
    model = models.cifar_resnet(8, 8, (32, 32, 3), 10)
    _compile(model, 0.01)
    plan = planning.Plan(
        tuple(planning.Phase(i, 1, size, 0.01, 0.9) for i, size in enumerate(sizes)), len(arrays[0])
    )
    datasets = [_plain_dataset(arrays, size) for size in sizes]
    pipeline = data.Pipeline(arrays, sizes[0])

    def four_plain_fits():
        for dataset in datasets:
            model.fit(dataset, epochs=1, verbose=0)

    with tempfile.TemporaryDirectory() as folder:
        ours = _our_callbacks(pipeline, plan, Path(folder))
        times = timed_pairs(
            lambda: model.fit(pipeline, epochs=4, callbacks=ours, verbose=0),
            four_plain_fits,
            rounds,
        )
    yield _figure("four phases, small ResNet, batch 64 to 512", times, plan.updates())


def executions(rounds: int):
    """Compares the chosen steps_per_execution with 1 on each arm of digits, for 20 epochs."""
    config = smith2018.get_config("digits")
    config.plan.epochs, config.plan.boundaries = 20, (6, 12, 16)
    for arm in experiment.arm_names(config):
        settings = experiment.arm_settings(config, arm)
        plan = experiment.make_plan(settings)
        train, _ = build.make_pipelines(settings, plan.phases[0].batch_size, 0, None)
        chosen_model = build.make_model(settings, train)
        chosen = choose_steps_per_execution(chosen_model, plan)
        one_model = build.make_model(settings, train)
        for model, steps in ((chosen_model, chosen), (one_model, 1)):
            _compile(model, plan.phases[0].learning_rate, plan.phases[0].momentum, steps)
        scheduler = callbacks.BatchSizeScheduler(train, plan)

        def fit(model, plan=plan, train=train, scheduler=scheduler):
            model.fit(train, epochs=plan.epochs, callbacks=[scheduler], verbose=0)

        times = timed_pairs(
            lambda fit=fit, model=chosen_model: fit(model),
            lambda fit=fit, model=one_model: fit(model),
            rounds,
        )
        yield _figure(f"digits {arm}, {chosen} updates per call against 1", times, plan.updates())


PARTS = {"overhead": overhead, "phases": phases, "executions": executions}


def _figure(name: str, pairs, steps: int) -> dict:
    return {
        "name": name,
        **ratio_of(pairs),
        "milliseconds_a_step": 1000 * statistics.median(a for a, _ in pairs) / steps,
        "milliseconds_a_step_other": 1000 * statistics.median(b for _, b in pairs) / steps,
    }


def _line(figure: dict) -> str:
    low, high = figure["quartiles"]
    return (
        f"{figure['part']:10} {figure['name']:58} ratio {figure['ratio']:.3f} "
        f"(quartiles {low:.3f} to {high:.3f}, n={figure['rounds']}; "
        f"{figure['milliseconds_a_step']:.2f} against {figure['milliseconds_a_step_other']:.2f} "
        "ms per step)"
    )


def _images(count: int, shape):
    generator = np.random.default_rng(0)
    images = generator.integers(0, 256, (count, *shape), dtype=np.uint8)
    return images, generator.integers(0, 10, count).astype(np.int32)


def _plain_dataset(arrays, batch_size: int):
    """Returns what a Keras user would write (shuffle, batch, prefetch), without the autotuner."""
    options = tf.data.Options()
    options.autotune.enabled = False
    dataset = tf.data.Dataset.from_tensor_slices(arrays).shuffle(len(arrays[0]), seed=0)
    return dataset.batch(batch_size, drop_remainder=True).prefetch(4).with_options(options)


def _compile(model, learning_rate, momentum=0.9, steps_per_execution=1):
    model.compile(
        keras.optimizers.SGD(learning_rate, momentum=momentum, nesterov=True),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
        steps_per_execution=steps_per_execution,
    )


def _our_callbacks(pipeline, plan, folder: Path):
    return [
        callbacks.BatchSizeScheduler(pipeline, plan),
        callbacks.TrainingStatistics(pipeline),
        callbacks.HistoryWriter(folder / "history.jsonl"),
        callbacks.TensorBoardScalars(folder / "tensorboard"),
    ]


if __name__ == "__main__":
    main()
