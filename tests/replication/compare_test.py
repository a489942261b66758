"""lbkeras.compare: real runs of a small custom model."""

import functools
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import keras
import numpy as np
import pytest

import lbkeras
from lbkeras import metrics
from lbkeras.errors import UserError
from lbkeras.planning import explicit_plan
from lbkeras.runs.record import read_history, read_run


def data(examples=120, seed=0):
    x = np.random.default_rng(seed).normal(size=(examples, 4)).astype("float32")
    return x, x.sum(axis=1, keepdims=True)


def plan(*sizes, learning_rate=0.01, momentum=0.5, examples=120):
    phases = [
        dict(first_epoch=epoch, epochs=1, batch_size=size, learning_rate=learning_rate,
             momentum=momentum)
        for epoch, size in enumerate(sizes)
    ]  # fmt: skip
    return explicit_plan(phases=phases, num_examples=examples)


class Regression(keras.Model):
    """Subclassed, and without `get_config`."""

    def __init__(self, units):
        super().__init__()
        self.hidden = keras.layers.Dense(units, activation="tanh")
        self.out = keras.layers.Dense(1)
        self.made_by = object()

    def call(self, x):
        return self.out(self.hidden(x))


def make_model(units=3, optimizer=None, loss="mse"):
    model = Regression(units)
    model.compile(optimizer or keras.optimizers.SGD(0.5), loss=loss, metrics=["mae"])
    return model


SEEN = []


def grows(pipeline):
    """An arm that is a function of its Pipeline; trained with the first Plan of the others."""
    SEEN.append(pipeline.batch_size)
    return [lbkeras.callbacks.BatchSizeScheduler(pipeline, lambda epoch, size: (10, 30)[epoch])]


ARMS = {"small": plan(10, 10), "grows": grows}
TARGETS = {"val_mae": 1e-9, "val_loss": 1e9}  # never reached; reached at once


@pytest.fixture(scope="module")
def compared(tmp_path_factory):
    folder = tmp_path_factory.mktemp("compared")
    return lbkeras.compare(
        make_model, data(), data(60, seed=1), arms=ARMS, seeds=2, workdir=folder, targets=TARGETS
    )


def test_each_arm_is_trained_by_its_plan_with_each_seed(compared):
    for arm, updates in (("small", 24), ("grows", 16)):
        for seed in (0, 1):
            run = read_run(compared.workdir / arm / f"seed_{seed}")
            assert (run.status, run.value("updates")) == ("finished", updates)
            assert [row["learning_rate"] for row in run.history] == [0.01, 0.01]
            assert [row["momentum"] for row in run.history] == [0.5, 0.5]
    assert set(SEEN) == {10} and (run.path / "model.weights.h5").exists()


def test_seeds_differ_and_arms_start_alike(compared):
    losses = {
        (arm, seed): read_history(compared.workdir / arm / f"seed_{seed}/history.jsonl")[0]["loss"]
        for arm in ARMS
        for seed in (0, 1)
    }
    assert losses["small", 0] == losses["grows", 0] != losses["small", 1] == losses["grows", 1]


def test_the_report_compares_the_metric_whose_direction_keras_knows(compared):
    report = compared.report
    assert report["metric"] == "val_mae" and report["baseline"] == "small"
    assert report["arms"]["grows"]["updates_ratio"] == 1.5
    (claim,) = report["claims"]
    assert (claim["test"], claim["better"], claim["ratio"]) == ("ratio_at_least", "lower", 0.95)
    assert "learning rate 0.01 and momentum 0.5" in report["arms"]["small"]["description"]
    assert "compiled learning rate 0.5 and momentum 0" in report["arms"]["small"]["description"]
    assert json.loads((compared.workdir / "report.json").read_text()) == report


def test_targets_are_counted(compared):
    targets = compared.report["arms"]["grows"]["targets"]
    spent = {name: [each[key]["reached"] for key in each] for name, each in targets.items()}
    assert spent == {
        "val_mae_at_most_1e-09": [0, 0, 0],
        "val_loss_at_most_1000000000.0": [2, 2, 2],
    }
    assert targets["val_loss_at_most_1000000000.0"]["updates"]["values"] == [12, 12]
    assert "until a test mae of at most 1e-09:\n  small: reached by 0 of 2" in str(compared)


def test_it_is_shown_as_text_and_in_a_notebook(compared):
    assert "test mae" in str(compared) and str(compared.workdir / "report.md") in str(compared)
    pictures = {picture.name for picture in compared.pictures}
    assert {"schedule.png", "val_mae_against_epochs.png"} <= pictures
    shown = compared._repr_html_()
    assert shown.count("data:image/png;base64,") == len(pictures) and "test mae" in shown


def test_a_second_call_trains_nothing(compared, capsys):
    arguments = dict(arms=ARMS, seeds=2, targets=TARGETS, workdir=compared.workdir)
    again = lbkeras.compare(make_model, data(), data(60, seed=1), **arguments)
    assert capsys.readouterr().out.count("already finished") == 4
    assert again.report == compared.report


def released(*values):
    """A case that is run only before a release; the gate has a similar one."""
    return pytest.param(*values, marks=pytest.mark.release)


@pytest.mark.parametrize(
    "change, named",
    [
        (dict(make_model=lambda: make_model(units=4)), "model.parameters"),
        released(dict(make_model=lambda: make_model(optimizer=keras.optimizers.SGD(nesterov=True))),
                 "optimizer.nesterov"),
        (dict(make_model=lambda: make_model(loss="mae")), "loss.loss"),
        released(dict(train=data(seed=7)), "data.hash"),
        (dict(test=data(60, seed=7)), "test_data.hash"),
        released(dict(arms=ARMS | {"small": plan(10, 60)}), "plan"),
        (dict(arms=ARMS | {"grows": lambda pipeline: [keras.callbacks.TerminateOnNaN()]}),
         "callbacks.0"),
        (dict(arms={"small": ARMS["small"]}), "expected the arms it was started with"),
    ],
)  # fmt: skip
def test_a_folder_is_not_resumed_with_something_else(compared, change, named):
    arguments = dict(make_model=make_model, train=data(), test=data(60, seed=1), arms=ARMS)
    before = (compared.workdir / "report.json").read_bytes()
    with pytest.raises(UserError, match=named):
        lbkeras.compare(**arguments | change, seeds=2, workdir=compared.workdir)
    assert (compared.workdir / "report.json").read_bytes() == before


def test_the_folder_of_a_single_run_is_left_alone(compared):
    folder = compared.workdir / "small" / "seed_0"
    before = sorted(folder.iterdir())
    message = "expected the folder of a replication, received a single run's; use another workdir"
    with pytest.raises(UserError, match=f"^workdir {folder}: {message}$"):
        lbkeras.compare(make_model, data(), data(60, seed=1), arms=ARMS, workdir=folder)
    assert sorted(folder.iterdir()) == before


@functools.cache
def shared_layer():
    return keras.layers.Dense(1)


def shares_weights():
    model = keras.Sequential([keras.Input((4,)), shared_layer()])
    model.compile("sgd", "mse")
    return model


@functools.cache
def adam():
    return keras.optimizers.Adam()


@pytest.mark.parametrize(
    "change, message",
    [
        (dict(make_model=lambda: None), "make_model: expected a compiled .* received None"),
        (dict(make_model=shares_weights, arms={"a": plan(10, momentum=0.0)}),
         "arm a: make_model: expected a new model at each call"),
        (dict(make_model=lambda: make_model(optimizer=keras.optimizers.Adam())), "small: .*Adam"),
        (dict(make_model=lambda: make_model(optimizer=adam())), "expected a new optimizer"),
        (dict(test=(data(60)[0][:, :3], data(60)[1])), "make_model: .* takes the data, received"),
        (dict(arms={}), "arms: expected a dict of at least one arm"),
        (dict(arms={"a": lambda pipeline: []}), "arms: expected at least one with a Plan"),
        (dict(arms={"a": {"plans": plan(10)}}), "arm a: .*plans.*did you mean|arm a.*'plans'"),
        (dict(arms={"a": plan(10, examples=100)}), "arm a: plan: expected one for 120 examples"),
        (dict(arms={"a": plan(10), "b": {"plan": plan(10), "make_model": lambda: make_model(
            loss="huber")}}, metric="val_loss"), "metric: .*different losses"),
        (dict(margin="x"), "margin"),
        (dict(arms={"report.md": plan(10)}), "arms: expected names that are valid folder names"),
        (dict(arms={"a/b": plan(10)}), "arms: expected names that are valid folder names"),
        (dict(arms={"a": {"plan": plan(10), "callbacks": lambda pipeline: None}}),
         "arm a: callbacks: expected a function from a Pipeline to a list"),
        (dict(metric="val_accuracy"), "metric"),
        (dict(targets={"val_acc": 0.9}), "targets: expected one of val_"),
        (dict(seeds=0), "seeds"),
    ],
)  # fmt: skip
def test_what_cannot_be_compared_is_refused_before_a_folder_is_made(tmp_path, change, message):
    arguments = dict(make_model=make_model, train=data(), test=data(60), arms=ARMS)
    with pytest.raises(UserError, match=message):
        lbkeras.compare(**arguments | change, workdir=tmp_path / "runs")
    assert not list(tmp_path.glob("runs/*/"))


ONE = []


def the_same_again(pipeline):
    ONE[:] = ONE or [keras.callbacks.TerminateOnNaN()]
    return ONE


@pytest.mark.parametrize(
    "callbacks, message",
    [
        (the_same_again, "makes new callbacks at each call"),
        (lambda: [], "a function of one argument"),
        (lambda p: [keras.callbacks.ReduceLROnPlateau()], "only the plan to set the learning rate"),
        (
            lambda p: [lbkeras.callbacks.BatchSizeScheduler(p, plan(10))],
            "the Plan to be given as the arm",
        ),
        (lambda p: [keras.callbacks.BackupAndRestore("there")], "none that restores"),
    ],
)
def test_callbacks_that_an_arm_cannot_have_are_refused(tmp_path, callbacks, message):
    arms = {"b": {"plan": plan(10), "callbacks": callbacks}}
    with pytest.raises(UserError, match=f"arm b: callbacks: .*{message}"):
        lbkeras.compare(make_model, data(), data(60), arms=arms, workdir=tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_layer_shared_by_two_runs_starts_each_of_them_alike(tmp_path):
    noise = keras.layers.GaussianNoise(0.5, seed=1)

    def with_noise():
        model = keras.Sequential([keras.Input((4,)), noise, keras.layers.Dense(1)])
        model.compile("sgd", "mse")
        return model

    arms = {"a": plan(60, momentum=0.0), "b": plan(60, momentum=0.0)}
    result = lbkeras.compare(with_noise, data(), data(60), arms=arms, seeds=1, workdir=tmp_path)
    one, other = (result.report["arms"][arm]["metric"]["values"] for arm in arms)
    assert one == other


def test_an_inaccuracy_is_not_an_accuracy():
    assert metrics.of("val_inaccuracy").better is None
    assert metrics.of("val_top_5_accuracy").better == "higher"


def test_a_model_or_data_in_order_are_refused(tmp_path):
    arguments = dict(make_model=make_model, train=data(), test=data(60), arms=ARMS)
    for change, message in (
        (dict(make_model=make_model()), "make_model: expected a function that returns"),
        (dict(train=lbkeras.data.Pipeline(data(), 10, shuffle=False)), "train: .*shuffle=True"),
    ):
        with pytest.raises(UserError, match=message):
            lbkeras.compare(**arguments | change, workdir=tmp_path)


@pytest.mark.release
def test_keras_keeps_the_precision_that_the_user_has_set(tmp_path, capsys):
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        arms = {"a": plan(60)}
        result = lbkeras.compare(
            make_model, data(), data(60), arms=arms, seeds=1, workdir=tmp_path / "runs"
        )
        assert capsys.readouterr().out.startswith("no verdict, as there is one arm only: ")
        assert keras.config.dtype_policy().name == "mixed_bfloat16"
        config = json.loads((result.workdir / "a/seed_0/config.json").read_text())
        assert config["model"]["precision"] == "mixed_bfloat16"
    finally:
        keras.config.set_dtype_policy("float32")


KILLED = """
import sys
from tests.replication.compare_test import make_model, data, plan
import lbkeras
lbkeras.compare(make_model, data(4800), data(60, seed=1), workdir=sys.argv[1], seeds=1,
                arms={"a": plan(10, 10, 30, 60, 10, 10, 10, 10, examples=4800)})
"""


@pytest.mark.release
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_a_killed_comparison_resumes_bit_for_bit(tmp_path, number):
    command = [sys.executable, "-c", KILLED]
    subprocess.run([*command, tmp_path / "whole"], check=True, capture_output=True)
    history = tmp_path / "killed/a/seed_0/history.jsonl"
    process = subprocess.Popen(
        [*command, tmp_path / "killed"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    while not (history.exists() and history.read_bytes().count(b"\n") >= 2):
        assert process.poll() is None, process.stdout.read().decode()
        time.sleep(0.01)
    os.kill(process.pid, number)
    process.wait()
    assert history.read_bytes().count(b"\n") < 8
    subprocess.run([*command, tmp_path / "killed"], check=True, capture_output=True)
    rows = [read_history(path) for path in (history, tmp_path / "whole/a/seed_0/history.jsonl")]
    for row in (*rows[0], *rows[1]):
        row.pop("seconds"), row.pop("examples_per_second")
    assert rows[0] == rows[1] and len(rows[0]) == 8
    weights = [
        _weights(tmp_path / name / "a/seed_0/model.weights.h5") for name in ("killed", "whole")
    ]
    for one, other in zip(*weights, strict=True):
        np.testing.assert_array_equal(one, other)


def _weights(path: Path):
    model = make_model()
    model.build((None, 4))
    model.load_weights(path)
    return model.get_weights()
