"""Compares a training step of GhostBatchNormalization with Keras' BatchNormalization.

    python tools/bench_ghost_batch_normalization.py               about 2 minutes on 2 cores
    python tools/bench_ghost_batch_normalization.py --rounds=31 --json=FILE

For each shape it times one training step of each layer alone (output; gradients of input, gamma and
beta; moving statistics), as a graph and compiled by XLA. Steps are timed in turn in one process, in
alternating order. Each figure is the median ratio of two consecutive times over the rounds, with
quartiles. `best` compares the faster of graph and XLA for each layer; these times need not be
consecutive.

The bound printed with the times is eight passes over the input's bytes, the fewest that forward and
backward pass need, each at half the time of a scaled copy on this machine. Small inputs stay in the
processor's caches and can beat it.

Ghost batches of 32 divide the batch of 1024. Those of 48 become 22 uneven ones of 46 or 47. With
"unknown" the graph of both layers does not know the batch size.
"""

import argparse
import json
import os
import statistics
import sys
import time
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import keras  # noqa: E402
import tensorflow as tf  # noqa: E402
from interleaved import ratio_of, timed_pairs  # noqa: E402

from lbkeras.layers import GhostBatchNormalization  # noqa: E402

SHAPES = ((1024, 16, 16, 32), (1024, 8, 8, 128), (1024, 32, 32, 16), (1024, 512))
# Name, ghost batch size, whether the graph knows the batch size.
CASES = (("32", 32, True), ("48 uneven", 48, True), ("32 unknown", 32, False))
# The fewest: forward reads x for the moments, reads it to normalize, writes y; backward reads the
# gradient and x for the sums, reads both again, writes the gradient of x.
PASSES = 8


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=15, help="timed pairs of each figure")
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    arguments = parser.parse_args()
    figures = []
    for shape in SHAPES:
        for figure in measure(shape, arguments.rounds):
            figures.append(figure)
            print(_line(figure), flush=True)
    if arguments.json:
        arguments.json.write_text(json.dumps(figures, indent=2) + "\n")


def measure(shape, rounds: int):
    """Yields the figures of one shape: each case as a graph, by XLA, and the faster of both."""
    x, dy = tf.random.normal(shape), tf.random.normal(shape)
    bound = PASSES * _seconds_a_pass(x)
    for name, ghost_batch_size, known in CASES:
        ours, keras_own = {}, {}
        for way, jit_compile in (("graph", False), ("XLA", True)):
            layers = (GhostBatchNormalization(ghost_batch_size), keras.layers.BatchNormalization())
            steps = [_step(layer, shape, known, jit_compile) for layer in layers]
            pairs = timed_pairs(*(lambda s=s: s(x, dy).numpy() for s in steps), rounds, warmups=3)
            ours[way], keras_own[way] = (list(times) for times in zip(*pairs, strict=True))
            yield _figure(shape, name, way, ours[way], keras_own[way], bound)
        fastest = [min(layer.values(), key=statistics.median) for layer in (ours, keras_own)]
        yield _figure(shape, name, "best", *fastest, bound)


def _step(layer, shape, known: bool, jit_compile: bool):
    """Returns a training step of a layer, whose result depends on all that it computes."""
    layer.build(shape)
    spec = tf.TensorSpec(shape if known else (None, *shape[1:]))

    @tf.function(input_signature=[spec, spec], jit_compile=jit_compile)
    def step(x, dy):
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = layer(x, training=True)
        dx, *rest = tape.gradient(y, [x, *(v.value for v in layer.trainable_variables)], dy)
        return dx, rest

    def run(x, dy):
        dx, rest = step(x, dy)
        return tf.reshape(dx, [-1])[0] + rest[0][0]

    return run


def _seconds_a_pass(x) -> float:
    """Returns the seconds to read or write the input once: half of a scaled copy."""
    copy = tf.function(lambda x: 2.0 * x)
    times = []
    for _ in range(12):
        begin = time.perf_counter()
        copy(x)
        times.append(time.perf_counter() - begin)
    return statistics.median(times[2:]) / 2


def _figure(shape, name: str, way: str, ours, keras_own, bound: float) -> dict:
    return {
        "shape": list(shape),
        "ghosts": name,
        "way": way,
        **ratio_of(zip(ours, keras_own, strict=True)),
        "milliseconds": 1000 * statistics.median(ours),
        "milliseconds_keras": 1000 * statistics.median(keras_own),
        "milliseconds_bound": 1000 * bound,
    }


def _line(figure: dict) -> str:
    low, high = figure["quartiles"]
    return (
        f"{'x'.join(map(str, figure['shape'])):14} ghosts of {figure['ghosts']:10} "
        f"{figure['way']:5} ratio {figure['ratio']:.2f} "
        f"(quartiles {low:.2f} to {high:.2f}, n={figure['rounds']}; {figure['milliseconds']:.2f} "
        f"against {figure['milliseconds_keras']:.2f} ms, bound {figure['milliseconds_bound']:.2f})"
    )


if __name__ == "__main__":
    main()
