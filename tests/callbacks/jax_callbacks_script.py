"""Checks callbacks, runs and the command line on Keras' JAX backend without TensorFlow.

Prints a line for each check: its name and "passed", or the error.
"""

import ast
import contextlib
import importlib
import importlib.machinery
import io
import json
import os
import signal
import sys
from pathlib import Path

_find_spec = importlib.machinery.PathFinder.find_spec
_HIDDEN = {"tensorflow", "tensorflow_datasets"}  # as if not installed
importlib.machinery.PathFinder.find_spec = lambda name, *arguments: (
    None if name in _HIDDEN else _find_spec(name, *arguments)
)
os.environ.pop("KERAS_BACKEND", None)  # the first use of lbkeras chooses it

import lbkeras  # noqa: E402
from lbkeras.callbacks import (  # noqa: E402
    BatchSizeScheduler,
    Checkpoint,
    Diverged,
    HistoryWriter,
    Interrupted,
    ProgressBar,
    StopOnNaN,
    StopOnSignal,
    TensorBoardScalars,
    TrainingStatistics,
)

assert os.environ["KERAS_BACKEND"] == "jax"

import keras  # noqa: E402
import numpy as np  # noqa: E402
import pytest  # noqa: E402

from lbkeras.cli.main import main  # noqa: E402
from lbkeras.data import Pipeline  # noqa: E402
from lbkeras.data.digits import load_digits  # noqa: E402
from lbkeras.errors import UserError  # noqa: E402
from tests import jax_checks  # noqa: E402
from tests.terminal import pseudo_terminal  # noqa: E402

DIGITS = load_digits("train")
SIZES = (256, 128, 128)  # 5, 11 and 11 updates
ROOT = Path(lbkeras.__file__).parent

# Names whose modules import TensorFlow. Other TensorFlow-only callbacks refuse JAX when created.
OF_TENSORFLOW = {
    "distribution": {"patch_keras"},
    "trainers": {"StackedNodes", "UpdateProgress", "FlatLoss"},
}


def make_model(rate=0.05, seed=0, **compile_arguments):
    """One model and optimizer for all checks, so that each batch size is compiled once."""
    keras.backend.clear_session()
    keras.utils.set_random_seed(seed)
    layers = keras.layers
    model = keras.Sequential(
        [
            keras.Input((8, 8, 1)),
            layers.Rescaling(1 / 16),
            layers.Flatten(),
            layers.Dense(8, activation="relu"),
            layers.BatchNormalization(),
            layers.Dropout(0.3),
            layers.Dense(10),
        ]
    )
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    optimizer = keras.optimizers.SGD(rate, momentum=0.9)
    model.compile(optimizer, loss, metrics=["accuracy"], **compile_arguments)
    return model


class LastState(keras.callbacks.Callback):
    """Keeps all variables: weights, statistics, random generators, slots."""

    def on_epoch_end(self, epoch, logs=None):
        variables = self.model.variables + self.model.optimizer.variables
        self.values = [np.array(keras.ops.convert_to_numpy(each)) for each in variables]


class SendSignal(keras.callbacks.Callback):
    """Sends SIGTERM to the process after a step of the second epoch."""

    def on_epoch_begin(self, epoch, logs=None):
        self.epoch = epoch

    def on_train_batch_end(self, batch, logs=None):
        if self.epoch == 1 and batch >= 3:
            os.kill(os.getpid(), signal.SIGTERM)


def fit(folder, send=(), seed=0, **compile_arguments):
    model = make_model(seed=seed, **compile_arguments)
    train = Pipeline(DIGITS, 64, seed=5)
    statistics, early = TrainingStatistics(train), keras.callbacks.EarlyStopping("loss", patience=9)
    others = [BatchSizeScheduler(train, lambda epoch, size: SIZES[epoch]), statistics, early]
    checkpoint = Checkpoint(folder, train, others)
    stop, last = StopOnSignal(checkpoint), LastState()
    first = checkpoint.restore(model)
    with stop.catching():
        callbacks = [*others, *send, checkpoint, stop, last]
        history = model.fit(
            train, epochs=3, initial_epoch=first, verbose=0, callbacks=callbacks
        ).history
    best = early.best_epoch, early.wait, early.best, statistics.examples_seen
    return last.values, {n: v[-1] for n, v in history.items() if "second" not in n}, best


def check_a_run_resumes_inside_an_epoch(folder, **compile_arguments):
    """Bit for bit, with the metrics of the current epoch; the resuming program has another seed."""
    whole = fit(folder / "whole", **compile_arguments)
    with pytest.raises(Interrupted):
        fit(folder / "stopped", [SendSignal()], **compile_arguments)
    files = sorted(int(path.stem[7:]) for path in (folder / "stopped").iterdir())
    assert files[0] == 5 and 5 < files[1] < 16
    resumed = fit(folder / "stopped", seed=99, **compile_arguments)
    assert len(whole[0]) == 9 + 8
    assert resumed[1:] == whole[1:]
    for ours, expected in zip(resumed[0], whole[0], strict=True):
        np.testing.assert_array_equal(ours, expected)


def check_it_does_with_several_steps_per_call(folder):
    check_a_run_resumes_inside_an_epoch(folder, steps_per_execution=3)


def check_a_checkpoint_leaves_out_what_the_step_carries_for_callbacks(folder):
    """Callbacks keep it in their own state; a program that resumes does not carry it yet."""
    from lbkeras.callbacks.checkpoint_contents import metrics_of, variables_of
    from lbkeras.keras_internals import jax_state

    model = make_model()
    model.optimizer.build(model.trainable_variables)
    before = [*variables_of(model).values(), *metrics_of(model).values()]
    lent = keras.Variable(np.zeros(3)), keras.Variable(np.zeros(3))
    jax_state.carry_in_optimizer(model.optimizer, lent[:1])
    jax_state.carry(model, "test", lent[1:])
    numbers = len(model.optimizer.variables), len(model.metrics_variables)
    after = [*variables_of(model).values(), *metrics_of(model).values()]
    assert all(a is b for a, b in zip(after, before, strict=True))
    jax_state.drop_from_optimizer(model.optimizer, lent[:1])
    jax_state.drop(model, "test")
    now = len(model.optimizer.variables), len(model.metrics_variables)
    assert now == (numbers[0] - 1, numbers[1] - 1)


def check_a_lost_loss_says_at_which_update(folder):
    model = make_model(1e30)
    train = Pipeline(DIGITS, 256)
    scheduler = BatchSizeScheduler(train, lambda epoch, size: size)
    with pytest.raises(Diverged, match=r"at update [23] \(epoch 1\) with learning rate 1e\+30"):
        model.fit(train, verbose=0, callbacks=[StopOnNaN(), scheduler])


def check_files_of_a_run(folder):
    """HistoryWriter and TensorBoard; in a terminal the bar is drawn inside the epoch."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    model = make_model()
    train = Pipeline(DIGITS, 256)
    callbacks = [
        BatchSizeScheduler(train, lambda epoch, size: SIZES[epoch]),
        TrainingStatistics(train),
        HistoryWriter(folder / "history.jsonl"),
        TensorBoardScalars(folder / "tensorboard", {"arm": "one", "seed": 0}),
        ProgressBar(train),
    ]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("lbkeras.callbacks.progress_bar._SECONDS_BETWEEN_DRAWINGS", 0.0)
        with pseudo_terminal(patch, 120) as written:
            model.fit(train, epochs=2, validation_data=train.in_order(500), callbacks=callbacks)
    assert "3/5" in written[0] and "learning_rate 0.05" in written[0]
    rows = [json.loads(line) for line in (folder / "history.jsonl").read_text().splitlines()]
    assert [row["updates"] for row in rows] == [5, 16]
    for run, prefix in (("train", ""), ("validation", "val_")):
        read = EventAccumulator(str(folder / "tensorboard" / run))
        read.Reload()
        names = {name.removeprefix("val_") for name in rows[0] if name.startswith("val_")}
        if run == "train":
            names = {name for name in rows[0] if not name.startswith("val_")} - {"epoch"}
        assert set(read.Tags()["scalars"]) == names
        for name in names:
            events = read.Scalars(name)
            assert [event.step for event in events] == [5, 16]
            expected = [row[prefix + name] for row in rows]
            np.testing.assert_allclose([event.value for event in events], expected, rtol=1e-6)


def check_statistics_are_recomputed(folder):
    from lbkeras.methods.batch_statistics.recompute_statistics import recompute_statistics

    keras.utils.set_random_seed(0)
    norm, seeds = keras.layers.BatchNormalization(), keras.layers.Dropout(0.5)
    model = keras.Sequential([keras.Input((3,)), norm, seeds])
    parts = [np.random.default_rng(i).normal(i, 1 + i, (n, 3)) for i, n in enumerate((32, 8))]
    before = keras.ops.convert_to_numpy(seeds.seed_generator.state)
    assert recompute_statistics(model, [part.astype("float32") for part in parts]) == 40
    for variable, of in ((norm.moving_mean, np.mean), (norm.moving_variance, np.var)):
        expected = sum(len(part) * of(part, axis=0) for part in parts) / 40
        np.testing.assert_allclose(keras.ops.convert_to_numpy(variable), expected, rtol=1e-5)
    np.testing.assert_array_equal(keras.ops.convert_to_numpy(seeds.seed_generator.state), before)


def check_public_names(folder):
    """All names load, or say in one line that they need TensorFlow."""
    refused = {}
    for stub in ROOT.glob("*/__init__.pyi"):
        package = importlib.import_module(f"lbkeras.{stub.parent.name}")
        for node in ast.parse(stub.read_text()).body:
            name = node.names[0].asname
            try:
                getattr(package, name)
            except UserError as error:
                begin = f"lbkeras.{stub.parent.name}.{name}: expected TensorFlow"
                assert str(error).startswith(begin) and "pip install tensorflow" in str(error)
                refused.setdefault(stub.parent.name, set()).add(name)
    assert refused == OF_TENSORFLOW


def refusal(*arguments) -> str:
    with contextlib.redirect_stderr(io.StringIO()) as said:
        assert main(list(arguments)) == 2
    (line,) = said.getvalue().splitlines()
    return line.removeprefix("lbkeras: error: ")


def check_what_the_commands_refuse(folder):
    config = "--config=smith2018:digits"
    train = ("train", config, f"--workdir={folder / 'run'}")
    jax = "expected Keras' TensorFlow backend, received jax"
    for flags, said in {
        ("--memory_limit_mb=500",): f"memory_limit_mb: {jax}",
        ("--workers=localhost:1,localhost:2", "--worker_index=0"): f"--workers: {jax}",
        ("--dry_run",): f"--dry_run: {jax}",
    }.items():
        assert refusal(*train, *flags) == said
    for name in ("multi_worker", "tpu"):
        said = f"strategy: expected auto, one or mirrored on Keras' JAX backend, received '{name}'"
        assert refusal(*train, f"--strategy={name}") == said
    assert refusal("plan", config, "--probe") == f"--probe: {jax}"
    assert refusal("plan", config, "--auto") == f"--auto: {jax}"
    with pytest.raises(UserError, match=f"lbkeras.advise: {jax}"):
        lbkeras.advise(lambda: None, DIGITS, epochs=3)
    assert not (folder / "run" / "record.json").exists()


def check_the_doctor(folder):
    with contextlib.redirect_stdout(io.StringIO()) as said:
        assert main(["doctor", f"--data_dir={folder}"]) == 0
    lines = said.getvalue().splitlines()
    assert (
        lines[:2] == ["backend", "  jax"] and lines[-1] == "nothing that lbkeras needs is missing"
    )
    assert ["jax", sys.modules["jax"].__version__] in [line.split() for line in lines]
    assert lines[lines.index("devices") + 1].startswith("  CPU:0")


if __name__ == "__main__":
    jax_checks.run(globals(), sys.argv[1:])
