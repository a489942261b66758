"""The section `train`: its keys, what is refused, and its effect on a run."""

import contextlib
import dataclasses
import io
import json

import keras
import numpy as np
import pytest
from ml_collections import ConfigDict

from lbkeras.callbacks import Checkpoint
from lbkeras.config import complete
from lbkeras.errors import UserError
from lbkeras.replication import read_history, read_run, write_record
from lbkeras.runs import experiment, run_lock, train_section, training
from lbkeras.runs.build import compile_model
from lbkeras.runs.config_task import ConfigTask
from lbkeras.runs.run_spec import RunSpec, hyper_parameters, run_settings
from tests.runs.small_config import small_config

CLOCK = ("seconds", "examples_per_second")


def settings_with(optimizer=None, **train):
    config = small_config(a=dict(train=train, optimizer=optimizer or {}))
    return experiment.arm_settings(config)


@pytest.mark.parametrize(
    ("chosen", "message"),
    [
        (dict(precison="float32"), "train: expected one of .*did you mean 'precision'"),
        (dict(precision="bfloat16"), "train.precision: expected one of 'float32', 'mixed_"),
        (dict(precision=16), "train.precision: expected one of .*, received 16"),
        (dict(jit_compile="yes"), "train.jit_compile: expected 'auto', True or False, rec.* 'yes'"),
        (dict(jit_compile=None), "train.jit_compile: expected 'auto', True or .* None"),
        (dict(steps_per_execution=-1), "train.steps_per_execution: expected a whole number .*-1"),
        (dict(steps_per_execution=1.5), "train.steps_per_execution: expected a whole number .*1.5"),
        (dict(validation_freq=0), "train.validation_freq: expected a whole number of at least 1"),
        (dict(validation_freq=True), "train.validation_freq: expected a whole number .* True"),
        (dict(ema_momentum=1.0), r"train.ema_momentum: expected a number in \[0, 1\).* 1.0"),
        (dict(clipnorm=-1), "train.clipnorm: expected a finite number of at least 0, received -1"),
        (dict(clipvalue=float("nan")), "train.clipvalue: expected a finite number .*received nan"),
        (
            dict(clipnorm=1.0, global_clipnorm=1.0),
            "train.global_clipnorm: expected one way to clip gradients, received train.clipnorm",
        ),
        (
            dict(clipvalue=1.0, optimizer=dict(clipnorm=2.0)),
            "train.clipvalue: expected one way to clip gradients, received optimizer.clipnorm too",
        ),
        (
            dict(ema_momentum=0.9, optimizer=dict(use_ema=True)),
            "train.ema_momentum: expected none with optimizer.use_ema, received 0.9",
        ),
    ],
)  # fmt: skip
def test_what_is_refused(chosen, message):
    with pytest.raises(UserError, match=message):
        experiment.make_plan(settings_with(**chosen))


def test_an_arm_sets_its_own_keys():
    config = small_config(a={}, b=dict(train=dict(precision="mixed_bfloat16")))
    config.train.clipnorm = 2.0
    assert experiment.arm_settings(config, "a")["train"] == train_section.DEFAULTS | {
        "clipnorm": 2.0
    }
    b = experiment.arm_settings(config, "b")["train"]
    assert (b["precision"], b["clipnorm"]) == ("mixed_bfloat16", 2.0)


@pytest.mark.parametrize(("text", "value"), [("True", True), ("false", False), ("auto", "auto")])
def test_the_command_line_gives_jit_compile_as_text(text, value):
    assert settings_with(jit_compile=text)["train"]["jit_compile"] is value


def test_an_old_config_has_steps_per_execution_outside_the_section():
    config = small_config().to_dict()
    del config["train"]
    before = complete(ConfigDict(config | dict(steps_per_execution=7)))
    assert experiment.arm_settings(before)["train"]["steps_per_execution"] == 7
    now = complete(ConfigDict(config))
    assert experiment.arm_settings(now)["train"] == train_section.DEFAULTS


def a_run(folder, settings, **more):
    task = ConfigTask(settings)
    return RunSpec(task=task, arm="a", seed=0, folder=folder, config="c.py", command="", **more)


def test_what_a_folder_records(tmp_path):
    """An old run, whose folder has no such section, had the defaults."""
    run = a_run(tmp_path, settings_with(steps_per_execution=5))
    claimed = run_settings(run)
    assert "steps_per_execution" not in claimed["train"]
    old = {name: values for name, values in claimed.items() if name != "train"}
    (tmp_path / "config.json").write_text(json.dumps(old))
    assert run_lock.check_claim(tmp_path, "config.json", claimed)
    other = run_settings(a_run(tmp_path, settings_with(precision="mixed_float16")))
    message = r"\(train.precision='float32'\), received train.precision='mixed_float16'"
    with pytest.raises(UserError, match=message):
        run_lock.check_claim(tmp_path, "config.json", other)


def test_hyper_parameters_are_what_differs_from_the_defaults(tmp_path):
    flat = hyper_parameters(a_run(tmp_path, settings_with(ema_momentum=0.9)))
    assert [name for name in flat if name.startswith("train.")] == ["train.ema_momentum"]


def test_the_precision_is_restored_after_a_session():
    before = keras.config.dtype_policy()
    with train_section.keras_session({"train": {"precision": "mixed_bfloat16"}}, seed=0):
        assert keras.config.dtype_policy().name == "mixed_bfloat16"
        with train_section.keras_session(
            {}, seed=0
        ):  # a task that does not set it: the precision from before
            assert keras.config.dtype_policy().name == "mixed_bfloat16"
    with pytest.raises(KeyError), train_section.keras_session(settings_with(), seed=0):
        raise KeyError
    assert keras.config.dtype_policy() == before


def test_the_last_epoch_is_always_evaluated():
    class Model:
        stop_training = False

    model = Model()
    epochs = train_section.evaluated_epochs(settings_with(validation_freq=3), model, 8)
    assert [epoch for epoch in range(1, 9) if epoch in epochs] == [3, 6, 8]
    model.stop_training = True  # a callback ends the run
    assert 4 in epochs


class _Killed(Exception):
    pass


def _kill_after(save, place):
    def saved(self, epoch, step):
        save(self, epoch, step)
        if (epoch, step) == place:
            raise _Killed

    return saved


def _train(run):
    with contextlib.redirect_stdout(io.StringIO()):
        return training.train(run)


def _rows(folder):
    return [
        {name: value for name, value in row.items() if name not in CLOCK}
        for row in read_history(folder / "history.jsonl")
    ]


def _arrays(folder):
    with np.load(sorted(folder.glob("checkpoints/*.npz"))[-1]) as file:
        return {name: file[name] for name in file.files if name != "state"}


@pytest.mark.release  # the gate tests each by itself; kills in float32: tests/cli/train_test.py
def test_mixed_precision_averages_and_clipping_through_a_kill(tmp_path, monkeypatch):
    """LARS in micro-batches across a batch switch, evaluated every second epoch of three."""
    config = small_config(a={})
    config.optimizer = dict(name="LARS", trust_coefficient=0.02)
    config.plan.update(strategy="increase_batch", epochs=3, boundaries=(1,), learning_rate=1.0,
                       batch_size=40, factor=3.0)  # fmt: skip
    config.train.update(precision="mixed_float16", ema_momentum=0.8, global_clipnorm=1.0,
                        validation_freq=2, steps_per_execution=4)  # fmt: skip
    run = a_run(
        tmp_path / "whole", experiment.arm_settings(config), strategy="one", micro_batch_size=16,
        checkpoint_minutes=0.0,
    )  # fmt: skip
    record = _train(run)
    assert (record["status"], record["updates"]) == ("finished", 35 + 11 + 11)
    assert keras.config.dtype_policy().name == "float32"

    killed = dataclasses.replace(run, folder=tmp_path / "killed")
    with monkeypatch.context() as patched:
        patched.setattr(Checkpoint, "save", _kill_after(Checkpoint.save, (1, 4)))
        with pytest.raises(_Killed):
            _train(killed)
    _train(killed)
    rows = _rows(run.folder)
    assert _rows(killed.folder) == rows
    assert ["val_loss" in row for row in rows] == [False, True, True]
    expected, received = _arrays(run.folder), _arrays(killed.folder)
    for name, value in expected.items():
        np.testing.assert_array_equal(received[name], value, err_msg=name)

    files = [each.folder / "model.keras" for each in (run, killed)]
    models = [keras.models.load_model(file, compile=False) for file in files]
    weights = [model.get_weights() for model in models]
    for ours, other in zip(*weights, strict=True):
        np.testing.assert_array_equal(ours, other)
    # Killed after the last checkpoint, before the file is written.
    files[1].unlink()
    write_record(killed.folder, record | {"status": "died"})
    _train(killed)
    again = keras.models.load_model(files[1], compile=False).get_weights()
    for ours, other in zip(weights[0], again, strict=True):
        np.testing.assert_array_equal(ours, other)
    # The file holds the averages, which were also evaluated.
    assert "mixed_float16" in [layer.dtype_policy.name for layer in models[0].layers]
    _, test = run.task.pipelines(0)
    compile_model(models[0], run.task.settings)
    loss, accuracy = models[0].evaluate(test, verbose=0)
    assert accuracy == rows[-1]["val_accuracy"] == read_run(run.folder).value("val_accuracy")
    assert loss == pytest.approx(rows[-1]["val_loss"], rel=1e-3)
    trained = [expected[f"model/{i}"] for i, _ in enumerate(models[0].trainable_variables)]
    assert max(np.abs(a - b).max() for a, b in zip(trained, weights[0], strict=True)) > 1e-3
