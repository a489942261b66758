"""Arguments of another type or out of their range: one line, when the object is made."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from lbkeras import callbacks, data, layers, optimizers, planning, schedules
from lbkeras.errors import UserError

X, Y = np.zeros((8, 2), "float32"), np.zeros((8, 1), "float32")


def stream():
    return tf.data.Dataset.from_tensor_slices((X, Y))


def train():
    return data.Pipeline((X, Y), 4)


def plan(**changes):
    arguments = dict(
        strategy="hybrid",
        epochs=4,
        boundaries=(2,),
        factor=2.0,
        learning_rate=0.1,
        momentum=0.9,
        batch_size=2,
        num_examples=8,
    )
    return planning.noise_scale_plan(**(arguments | changes))


# What is made, and how its line begins.
CASES = {
    "data": [
        (lambda: data.Pipeline(None, 4), "source: expected"),
        (lambda: data.Pipeline((), 4), "source: expected"),
        (lambda: data.Pipeline((X, Y, Y, Y), 4), "source: expected"),
        (lambda: data.Pipeline((X, Y[:3]), 4), "source: expected"),
        (lambda: data.Pipeline((np.array([object()] * 8), Y), 4), "source: expected dense arrays"),
        (lambda: data.Pipeline(([[1], [2, 3]], [0, 1]), 1), "source: expected dense arrays"),
        (lambda: data.Pipeline(tf.data.Dataset.range(8).batch(2), 2), "source: expected an unbat"),
        (lambda: data.Pipeline(tf.data.Dataset.range(8).repeat(), 2), "source: expected"),
        (lambda: data.Pipeline((X, Y), 0), "batch_size: expected"),
        (lambda: data.Pipeline((X, Y), 9), "batch_size: expected"),
        (lambda: data.Pipeline((X, Y), "4"), "batch_size: expected an integer"),
        (lambda: data.Pipeline((X, Y), True), "batch_size: expected an integer"),
        (lambda: data.Pipeline((X, Y), 2.0), "batch_size: expected an integer"),
        (lambda: data.Pipeline((X, Y), 4, seed="a"), "seed: expected a whole number"),
        (lambda: data.Pipeline((X, Y), 4, seed=-1), "seed: expected a whole number"),
        (lambda: data.Pipeline((X, Y), 4, seed=1.5), "seed: expected a whole number"),
        (lambda: data.Pipeline((X, Y), 4, augment=3), "augment: expected a function"),
        (lambda: data.Pipeline((X, Y), 4, decode="x"), "decode: expected a function"),
        (lambda: data.Pipeline((X, Y), 4, augment=lambda x: x), "augment: expected a function"),
        (lambda: data.Pipeline((X, Y), 4, augment=lambda x, seed: x[:1]), "augment: expected 4 ro"),
        (lambda: data.Pipeline((X, Y), 4, augment=lambda x, seed: None), "augment: expected 4 ro"),
        (lambda: data.Pipeline((X, Y), 4, augment=lambda x, seed: 1 / 0), "augment: expected a f"),
        (
            lambda: data.Pipeline((X, Y), 4, augment=lambda x, seed: tf.reshape(x, (-1,))),
            "augment: expected 4 rows as it gets, received shape (8,)",
        ),
        (lambda: data.Pipeline(stream(), 2, decode=lambda x: x), "decode: expected a function"),
        (
            lambda: data.Pipeline(stream(), 2, decode=lambda x, seed: tf.io.decode_png("no")),
            "decode: expected a function",
        ),
        (lambda: data.Pipeline((X, Y), 4, shuffle=None), "shuffle: expected True or False"),
        (lambda: data.Pipeline((X, Y), 4, shuffle_bytes=1e9), "shuffle_bytes: expected a whole"),
        (lambda: data.Pipeline((X, Y), 4, shuffle_bytes=-1), "shuffle_bytes: expected a whole"),
        (lambda: data.Pipeline((X, Y), 4, num_examples=7), "num_examples: expected 8 (the sou"),
        (lambda: data.Pipeline(stream(), 4, num_examples=9), "num_examples: expected 8 (the so"),
        (lambda: data.Pipeline((X, Y), 4, num_examples="8"), "num_examples: expected a whole"),
        (lambda: data.Pipeline(lambda: iter(()), 4), "num_examples: expected how many"),
        (
            lambda: data.Pipeline(stream().batch(2, drop_remainder=True), 2),
            "source: expected an unbatched",
        ),
        (
            lambda: data.Pipeline(tf.data.Dataset.from_tensors(tf.ragged.constant([[1]])), 1),
            "source: expected dense",
        ),
        (lambda: data.load("digts", batch_size=4), "unknown data set"),
        (lambda: data.load(3), "name: expected"),
        (lambda: data.load("digits", 3), "split: expected"),
        (lambda: data.load("digits", None), "split: expected"),
        (lambda: data.load("digits", training="yes"), "training: expected True, False or None"),
        (lambda: data.load("digits", augmentation=3), "augmentation: expected"),
        (lambda: data.load("mnist", data_dir=3), "data_dir: expected a folder"),
        (lambda: data.load("mnist", data_dir=__file__), "data_dir: expected a folder"),
        (lambda: data.load("a.txt", data_dir=__file__), "data_dir: expected a folder"),
    ],
    "plans": [
        (lambda: plan(epochs=0), "epochs: expected"),
        (lambda: plan(epochs=10**400), "epochs: expected a whole number"),
        (lambda: plan(epochs="4"), "epochs: expected"),
        (lambda: plan(learning_rate=10**400), "learning_rate: expected"),
        (lambda: plan(learning_rate=float("nan")), "learning_rate: expected"),
        (lambda: plan(momentum=10**400), "momentum: expected"),
        (lambda: plan(momentum=1), "momentum: expected"),
        (lambda: plan(strategy="hybird"), "strategy: expected one of"),
        (lambda: plan(factor=0), "factor: expected"),
        (lambda: plan(boundaries=3), "boundaries: expected"),
        (lambda: planning.Plan([], 8), "phases: expected"),
        (lambda: planning.Plan([3], 8), "phases[0]: expected a Phase"),
        (lambda: planning.Plan([planning.Phase(1, 1, 2, 0.1, 0.9)], 8), "phases[0].first_epoch"),
        (lambda: planning.Plan([planning.Phase(0, 1, 2, 0.1, 0.9)], 8, curve=3), "curve: expected"),
        (lambda: schedules.steps([0.1], [1], 3), "values: expected"),
        (lambda: schedules.EpochLearningRateSchedule(3, [(0, 0, 1)]), "segments: expected"),
    ],
    "callbacks": [
        (lambda: callbacks.BatchSizeScheduler(X, lambda e, s: s), "pipeline: expected a lbkeras"),
        (lambda: callbacks.BatchSizeScheduler(train(), 3), "schedule: expected a Plan or a func"),
        (lambda: callbacks.BatchSizeScheduler(train(), None), "schedule: expected a Plan or a f"),
        (lambda: callbacks.AdaptiveBatchSize(None), "pipeline: expected a lbkeras"),
        (lambda: callbacks.GradientNoiseScale(None), "pipeline: expected a lbkeras"),
        (
            lambda: callbacks.GradientNoiseScale(train(), window_epochs="x"),
            "window_epochs: expected",
        ),
        (lambda: callbacks.Sharpness(None), "pipeline: expected a lbkeras"),
        (lambda: callbacks.Sharpness(train(), examples="x"), "examples: expected a whole number"),
        (lambda: callbacks.Sharpness(train(), epsilons=("x",)), "epsilons: expected"),
        (lambda: callbacks.Sharpness(train(), iterations=0.5), "iterations: expected"),
        (lambda: callbacks.Checkpoint(None, train()), "directory: expected a path"),
        (lambda: callbacks.Checkpoint("c", None), "pipeline: expected a lbkeras"),
        (lambda: callbacks.Checkpoint("c", train(), minutes="x"), "minutes: expected"),
        (lambda: callbacks.Checkpoint("c", train(), minutes=-1), "minutes: expected"),
        (lambda: callbacks.Checkpoint("c", train(), 3), "callbacks: expected a list"),
        (lambda: callbacks.Checkpoint("c", train(), [3]), "callbacks: expected Keras callbacks"),
        (lambda: callbacks.HistoryWriter(None), "path: expected one"),
        (lambda: callbacks.ProgressBar(None), "pipeline: expected a lbkeras"),
        (lambda: callbacks.StopOnSignal(None), "checkpoint: expected the run's Checkpoint"),
        (lambda: callbacks.MicroBatches(train(), 0), "micro_batch_size: expected at least 1"),
        (lambda: callbacks.MicroBatches(train(), "4"), "micro_batch_size: expected an integer"),
        (lambda: callbacks.MicroBatches(keras.Sequential(), 4), "pipeline: expected a lbkeras"),
        (lambda: callbacks.TrainingStatistics("x"), "pipeline: expected a lbkeras"),
    ],
    "layers": [
        (lambda: layers.GhostBatchNormalization(0), "ghost_batch_size: expected"),
        (lambda: layers.GhostBatchNormalization("8"), "ghost_batch_size: expected"),
        (lambda: layers.GhostBatchNormalization(8, epsilon=-1), "epsilon: expected"),
        (lambda: layers.GhostBatchNormalization(8, momentum=2), "momentum: expected"),
        (lambda: layers.GhostBatchNormalization(8, momentum="x"), "momentum: expected"),
        (lambda: layers.BatchNormalizationWithoutMovingAverages(epsilon="x"), "epsilon: expected"),
        (lambda: layers.BatchNormalizationWithoutMovingAverages(momentum=1), "momentum: expected"),
        (lambda: layers.ShakeDrop("a"), "survival_probability: expected 0 to 1"),
        (lambda: layers.ShakeDrop(2), "survival_probability: expected 0 to 1"),
        (lambda: layers.with_ghost_batch_normalization(3, 8), "model: expected"),
    ],
    "optimizers": [
        (lambda: optimizers.LARS("x"), "learning_rate: expected"),
        (lambda: optimizers.LARS(0.1, momentum=1.0), "momentum: expected"),
        (lambda: optimizers.LARS(0.1, norm="both"), "norm: expected one of"),
        (lambda: optimizers.LARS(0.1, trust_coefficient=-1), "trust_coefficient: expected"),
        (lambda: optimizers.LAMB(0.1, epsilon=0), "epsilon: expected"),
        (lambda: optimizers.LAMB(0.1, beta_1=1.0), "beta_1: expected"),
        (lambda: optimizers.AdamP(-0.1), "learning_rate: expected"),
        (lambda: optimizers.SGDP(0.1, weight_decay=-1), "weight_decay: expected"),
    ],
}


@pytest.mark.parametrize("kind", CASES)
def test_one_line_when_it_is_made(kind):
    missed = {}
    for number, (make, begins) in enumerate(CASES[kind]):
        try:
            made = make()
        except UserError as error:
            if not str(error).startswith(begins) or "\n" in str(error):
                missed[number, begins] = str(error)
        except Exception as error:
            missed[number, begins] = repr(error)
        else:
            missed[number, begins] = f"made {made!r}"
    assert not missed, "\n".join(f"{key}: {value}" for key, value in missed.items())
