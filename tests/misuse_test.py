"""Arguments of a wrong type or out of range raise a one-line error when the object is created."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from lbkeras import callbacks, data, layers, models, optimizers, planning, schedules
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


# A call, and the beginning of its error.
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
            "augment: expected 4 rows, as in its input, received shape (8,)",
        ),
        (lambda: data.Pipeline(stream(), 2, decode=lambda x: x), "decode: expected a function"),
        (
            lambda: data.Pipeline(stream(), 2, decode=lambda x, seed: tf.io.decode_png("no")),
            "decode: expected a function",
        ),
        (lambda: data.Pipeline((X, Y), 4, shuffle=None), "shuffle: expected True, False or"),
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
        (lambda: callbacks.HistoryWriter(None), "path: expected a path"),
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
def test_one_line_when_the_object_is_created(kind):
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


# Invalid values for each kind of argument.
BAD = {
    "whole": ("x", float("nan"), 1.5, -1, [], {}, object()),
    "count": ("x", float("nan"), 1.5, -1, 0, [], {}, object(), True),
    "number": ("x", float("nan"), float("inf"), -1, 10**400, [], {}, object()),
    "above 0": ("x", float("nan"), float("inf"), -1, 0, 10**400, [], object()),
    "below 1": ("x", float("nan"), -1, 1, 2, 10**400, [], object()),
    "flag": ("False", 0, float("nan"), [], object()),
    "path": (3, float("nan"), [], {}, True),
    "text": (3, None, [], True),
    "choice": ("x", 3, float("nan"), None),
    "choice or None": ("x", 3, float("nan")),
    "list": (3, float("nan"), None, "x"),
    "curve": (3, None, "x", [], {}),
    "plan": (3, "x", [], {}, float("nan")),
    "dict": (3, "x", [1], float("nan")),
    "pipeline": (3, None, "x", [], {}, X),
}
CURVE = schedules.steps([0.1], [], 4)
PHASE = dict(first_epoch=0, epochs=1, batch_size=2, learning_rate=0.1, momentum=0.9)
SMITH = dict(
    strategy="hybrid",
    epochs=4,
    boundaries=(2,),
    factor=2.0,
    learning_rate=0.1,
    momentum=0.9,
    batch_size=2,
    max_batch_size=4,
    num_examples=8,
)
RECIPE = dict(learning_rate=0.1, momentum=0.9, batch_size=2, num_examples=8, epochs=4)
OF_RECIPES = dict(
    learning_rate="above 0", momentum="below 1", batch_size="count", num_examples="count",
    epochs="count",
)  # fmt: skip
OF_ADAM = dict(learning_rate="number", beta_1="below 1", beta_2="below 1", epsilon="above 0")
# A callable, valid arguments, and the kinds of the arguments to check.
CHECKED = [
    (planning.noise_scale_plan, SMITH, OF_RECIPES | dict(
        strategy="choice", boundaries="list", factor="above 0", max_batch_size="count")),
    (planning.cosine_plan, RECIPE, OF_RECIPES | dict(warmup_epochs="number")),
    (planning.linear_plan, RECIPE, OF_RECIPES),
    (planning.polynomial_plan, RECIPE, OF_RECIPES | dict(power="above 0")),
    (planning.curve_plan, dict(curve=CURVE, momentum=0.9, batch_size=2, num_examples=8),
     dict(curve="curve", momentum="below 1", batch_size="count", num_examples="count")),
    (lambda **changes: planning.Plan([planning.Phase(**PHASE | changes)], 8), {},
     dict(epochs="count", batch_size="count", learning_rate="above 0", momentum="below 1")),
    (schedules.cosine, dict(initial=0.1, final=0.0, epochs=4),
     dict(initial="number", final="number", epochs="above 0")),
    (schedules.linear_to_zero, dict(initial=0.1, epochs=4),
     dict(initial="number", epochs="above 0")),
    (schedules.polynomial, dict(initial=0.1, final=0.0, power=2, epochs=4),
     dict(initial="number", power="above 0", epochs="above 0")),
    (schedules.warm_up, dict(curve=CURVE, warmup_epochs=1, initial=0.1),
     dict(curve="curve", warmup_epochs="number", initial="number", shape="choice")),
    (schedules.prepend_warm_up, dict(curve=CURVE, warmup_epochs=1, initial=0.1),
     dict(curve="curve", warmup_epochs="number", initial="number")),
    (schedules.SteeredLearningRate, {},
     dict(first_update="whole", first_epoch="number", steps_per_epoch="count", owner="text")),
    (data.Pipeline, dict(source=(X, Y), batch_size=4), dict(batch_size="count")),
    (callbacks.BatchSizeScheduler, dict(pipeline=train, schedule=lambda epoch, size: size),
     dict(pipeline="pipeline", verbose="whole")),
    (callbacks.AdaptiveBatchSize, dict(pipeline=train),
     dict(pipeline="pipeline", plan="plan", rule="choice", file="path",
          scaling="choice or None")),
    (callbacks.GradientNoiseScale, dict(pipeline=train),
     dict(pipeline="pipeline", window_epochs="above 0", per_layer="flag", preconditioned="flag")),
    (callbacks.Sharpness, dict(pipeline=train),
     dict(pipeline="pipeline", iterations="count", seed="whole")),
    (callbacks.ConcurrentAdversarial, dict(pipeline=train, epsilon=1.0),
     dict(pipeline="pipeline", epsilon="above 0")),
    (callbacks.AdversarialAccuracy, dict(validation=train, epsilon=1.0),
     dict(validation="pipeline", epsilon="above 0", every_epochs="whole")),
    (callbacks.MicroBatches, dict(pipeline=train), dict(pipeline="pipeline", file="path")),
    (callbacks.MicroBatches, dict(pipeline=train), dict(micro_batch_size="count")),
    (callbacks.ProgressBar, dict(pipeline=train),
     dict(pipeline="pipeline", title="text", seconds_between_lines="number")),
    (callbacks.TrainingStatistics, dict(pipeline=train), dict(pipeline="pipeline")),
    (callbacks.Checkpoint, dict(directory="c", pipeline=train),
     dict(pipeline="pipeline", directory="path", minutes="number", callbacks="list")),
    (callbacks.HistoryWriter, dict(path="h"), dict(path="path")),
    (callbacks.TensorBoardScalars, dict(directory="t"), dict(directory="path", settings="dict")),
    (layers.GhostBatchNormalization, dict(ghost_batch_size=8),
     dict(ghost_batch_size="count", epsilon="number", synchronized="flag",
          moving_statistics="choice")),
    (layers.ShakeDrop, {}, dict(survival_probability="number")),
    (layers.HadamardClassifier, dict(units=3), dict(use_bias="flag")),
    (layers.OrthonormalClassifier, dict(units=3), dict(use_bias="flag", seed="whole")),
    (optimizers.LARS, dict(learning_rate=0.1), dict(
        learning_rate="number", momentum="below 1", weight_decay="number", norm="choice",
        trust_coefficient="above 0", nesterov="flag", clip="flag",
        learning_rate_in_momentum="flag")),
    (optimizers.LAMB, {}, OF_ADAM | dict(weight_decay="number")),
    (optimizers.AdamP, {}, OF_ADAM | dict(weight_decay="number", nesterov="flag")),
    (optimizers.SGDP, dict(learning_rate=0.1), dict(
        learning_rate="number", momentum="below 1", weight_decay="number", nesterov="flag")),
    (models.mlp, dict(input_shape=(8, 8, 1), num_classes=3),
     dict(input_shape="list", num_classes="count", weight_decay="number")),
    (models.small_cnn, dict(input_shape=(8, 8, 1), num_classes=3),
     dict(input_shape="list", num_classes="count", weight_decay="number")),
    (models.row_lstm, dict(input_shape=(8, 8, 1), num_classes=3),
     dict(num_classes="count", weight_decay="number")),
    (models.lstm_language_model, dict(vocabulary_size=9),
     dict(vocabulary_size="count", units="count", layers="count", input_shape="list")),
]  # fmt: skip


@pytest.mark.parametrize(
    ("make", "good", "kinds"), CHECKED, ids=lambda v: getattr(v, "__name__", "")
)
def test_every_argument(make, good, kinds):
    good = {name: value() if value is train else value for name, value in good.items()}
    make(**good)
    missed = []
    for name, kind in kinds.items():
        for value in BAD[kind]:
            try:
                made = make(**good | {name: value})
            except UserError as error:
                line = str(error)
                if name in line.partition(":")[0] and "expected" in line and "\n" not in line:
                    continue
                missed.append(f"{name}={value!r}: {line}")
            except Exception as error:
                missed.append(f"{name}={value!r}: {error!r}")
            else:
                missed.append(f"{name}={value!r}: made {made!r}")
    assert not missed, "\n".join(missed)


def test_there_are_enough():
    rows = sum(len(BAD[kind]) for _, _, kinds in CHECKED for kind in kinds.values())
    assert rows + sum(map(len, CASES.values())) >= 200
