"""Bad command lines and config files give one line in one form and leave nothing behind."""

import os

import pytest

# What follows --config=...smith2018.py:digits, and the expected line.
OF_BOTH = [
    ("--config.plan.epochs=" + "9" * 400, "plan.epochs: expected a whole number"),
    ("--config.plan.epochs=0", "plan.epochs: expected"),
    ("--config.plan.epochs=-3", "plan.epochs: expected"),
    ("--config.plan.epochs=1.5", "config.plan.epochs: expected a whole number, received '1.5'"),
    ("--config.plan.epochs=nan", "config.plan.epochs: expected a whole number, received 'nan'"),
    ("--config.plan.batch_size=0", "plan.batch_size: expected"),
    ("--config.plan.batch_size=5000", "plan.batch_size: expected"),
    ("--config.plan.learning_rate=nan", "plan.learning_rate: expected a finite number"),
    ("--config.plan.learning_rate=inf", "plan.learning_rate: expected a finite number"),
    ("--config.plan.learning_rate=-1", "plan.learning_rate: expected a finite number"),
    ("--config.plan.momentum=1", "plan.momentum: expected a number in [0, 1)"),
    ("--config.plan.factor=0", "plan.factor: expected"),
    ("--config.plan.boundaries=5", "config.plan.boundaries: expected a tuple"),
    ("--config.plan.boundaries=(2,1)", "plan.boundaries"),
    ("--config.plan.boundaries=(0,)", "plan.boundaries"),
    ("--config.plan.name=noise_scale", "plan.name: expected one of"),
    ("--config.plan.nmae=x", "config.plan: expected one of"),
    ("--config.plan", "config.plan: expected --config.plan.KEY=VALUE"),
    ("--config.optimizer.name=SDG", "optimizer.name: expected one of"),
    ("--config.optimizer.learning_rate=1", "config.optimizer.learning_rate: expected none, as"),
    ("--config.model.name=small_cn", "model.name: expected one of"),
    ("--config.checkpoint_minutes=nan", "config.checkpoint_minutes: expected a number from 0"),
    ("--config.checkpoint_minutes=-1", "config.checkpoint_minutes: expected a number from 0"),
    ("--config.steps_per_execution=1", "expected it as config.train.steps_per_execution, received"),
    ("--config.train.steps_per_execution=-1", "train.steps_per_execution: expected a whole number"),
    ("--config.train.steps_per_execution=1.5", "config.train.steps_per_execution: expected a who"),
    ("--config.train.precision=half", "train.precision: expected one of 'float32', 'mixed_bfloat1"),
    ("--config.train.clipnorm=-1", "train.clipnorm: expected a finite number of at least 0"),
    ("--config.seeds=0", "config.seeds: expected a whole number from 1"),
    ("--config.first_seed=4294967296", "config.first_seed: expected a whole number from 0"),
    ("--config.first_seed=-1", "config.first_seed: expected a whole number from 0"),
    ("--config.data.num_examples=0", "data.num_examples: expected"),
    ("--config.modle.name=x", "config: expected one of"),
    ("--strategy=mirored", "--strategy: expected one of"),
    ("--num_logical_devices=-1", "--num_logical_devices: expected a whole number"),
    ("--memory_limit_mb=-1", "--memory_limit_mb: expected a whole number"),
    ("--confg=x", "flag: expected one of"),
    *(
        (f"--config.{key}={value}", f"{key.rpartition('.')[2]}: expected")
        for key, values in {
            "plan.epochs": "x,,1e3,inf,None",
            "plan.batch_size": "-1,x,nan,1e99",
            "plan.learning_rate": "x,0,-inf",
            "plan.momentum": "-0.1,2,nan,x",
            "plan.factor": "1,-5,nan,inf,x",
            "data.num_examples": "-1,1.5,x,nan",
            "data.test_batch_size": "0,-1,x",
            "seeds": "-1,1.5,x,9999999",
            "checkpoint_minutes": "inf,x,1e9",
            "model.weight_decay": "nan,inf,-1,x",
        }.items()
        for value in values.split(",")
    ),
    *(
        (f"--config.plan.boundaries={value}", "boundaries")
        for value in ("x", "(", "(1,1)", "(1.5,)", "(99,)")
    ),
    ("--config.data.augmentation=mixup", "data.augmentation: expected one of default, none"),
    ("--config.data.nmae=x", "config.data: expected one of"),
    ("--config.optimizer.nmae=x", "config.optimizer: expected one of"),
    ("stray", "arguments: expected --FLAG=VALUE only, received 'stray'"),
]
OF_TRAINING = [
    ("--seed=-1", "--seed: expected a whole number from 0 to 4294967295, received '-1'"),
    ("--seed=1180591620717411303424", "--seed: expected a whole number from 0 to 4294967295"),
    ("--arm=", "arm: expected one of original"),
    ("--arm=orignal", "arm: expected one of original"),
    ("--micro_batch_size=-1", "--micro_batch_size: expected a whole number"),
    ("--micro_batch_size=4000", "micro_batch_size: expected at most"),
    ("--config.model.num_classes=3", "model.num_classes: expected at least 10"),
    (
        "--config.model.width=0",
        "model: expected arguments that small_cnn takes, received num_classes=10",
    ),
    ("--config.optimizer.weight_decay=nan", "optimizer"),
    ("--config.data.train_split=trian", "digits"),
    ("--config.data.test_batch_size=0", "batch_size"),
]


def assert_in_form(line: str, expected: str) -> None:
    assert expected in line
    assert "expected" in line and ("received" in line or "variant:" in line)
    assert "Traceback" not in line


@pytest.mark.parametrize(("flag", "expected"), OF_BOTH, ids=lambda value: value[:50])
def test_plan(flag, expected, fails, smith):
    assert_in_form(fails("plan", f"--config={smith}:digits", flag), expected)


@pytest.mark.parametrize(
    ("flag", "expected"), OF_BOTH[::4] + OF_TRAINING, ids=lambda value: value[:50]
)
def test_train(flag, expected, fails, smith, tmp_path):
    run = tmp_path / "run"
    line = fails("train", f"--config={smith}:digits", f"--workdir={run}", flag)
    assert_in_form(line, expected)
    assert not run.exists() or os.listdir(run) == [".lock"]


FILE = """
from lbkeras import config


def get_config(variant=""):
    made = config.experiment(
        data=dict(name="digits", num_examples=1437),
        model=dict(name="mlp", num_classes=10),
        optimizer=dict(name="SGD"),
        plan=dict(
            name="noise_scale_plan", strategy="hybrid", epochs=2, boundaries=(1,), factor=2.0,
            learning_rate=0.1, momentum=0.9, batch_size=20,
        ),
        arms=dict(first={}),
    )
    BODY
    return made
"""
FILES = [
    ("import sys; sys.exit(3)", "SystemExit"),
    ("raise BaseException('x')", "received"),
    ("raise GeneratorExit", "GeneratorExit"),
    ("raise ValueError('two\\nlines')", "expected a config that runs"),
    ("raise OSError(28, 'full')", "OSError"),
    ("raise MemoryError", "MemoryError"),
    ("import nosuchmodule", "ModuleNotFoundError"),
    ("from lbkeras import nosuchname", "ImportError"),
    ("undefined", "NameError"),
    ("assert False", "AssertionError"),
    ("1 / 0", "ZeroDivisionError"),
    ("get_config()", "RecursionError"),
    ("made = None", "expected a dict or ConfigDict with data, model, plan, received a NoneType"),
    ("made = {}", "data, model, plan, received one without data, model, plan"),
    ("made = 3", "received a int"),
    ("made = 'x'", "received a str"),
    ("del made.plan", "received one without plan"),
    ("del made.data", "received one without data"),
    ("made.arms = {}", "config.arms: expected at least one arm, received none"),
    ("made.modle = {}", "config: expected one of data,"),
    ("made.optimizer.learning_rate = 1.0", "expected none, as the plan sets it"),
    ("made.optimizer.momentum = 1.0", "expected none, as the plan sets it"),
    ("made.arms.first.plna = {}", "arms.first: expected one of data,"),
    ("made.arms.first.plan = 3", "config.arms.first.plan: expected a section"),
    ("made.arms.first.description = 3", "config.arms.first.description: expected text"),
    ("made.arms.first.description = {}", "config.arms.first.description: expected text"),
    ("made.arms.first.data = dict(nmae='x')", "data: expected one of name,"),
    ("made.arms.first.model = dict(name='x')", "model.name: expected one of"),
    ("made.arms.first.optimizer = dict(name='x')", "optimizer.name: expected one of"),
    ("made.arms.first.optimizer = dict(momentum=0.9)", "optimizer.momentum: expected none"),
    ("made.arms.first.callbacks = dict(Auto={})", "callbacks: expected one of"),
    ("made.callbacks = 3", "config.callbacks: expected a section"),
    ("made.callbacks = dict(AutoUW={})", "callbacks: expected one of"),
    ("made.callbacks = dict(AutoWU=3)", "callbacks.AutoWU: expected a section"),
    ("made.callbacks = dict(Checkpoint=dict(directory='/x'))", "callbacks.Checkpoint: expected"),
    ("made.callbacks = dict(HistoryWriter=dict(path='x'))", "callbacks.HistoryWriter: expected"),
    ("made.callbacks = dict(MicroBatches={})", "callbacks.MicroBatches: expected"),
    ("made.linear_interpolation = 3", "config.linear_interpolation: expected a section"),
    ("made.seeds = True", "config.seeds: expected a whole number from 1"),
    ("made.first_seed = 2**32", "config.first_seed: expected a whole number from 0"),
    ("del made.data.num_examples", "data.num_examples: expected a value, received none"),
    ("del made.data.name", "data.name: expected a value, received none"),
    ("del made.model.name", "model.name: expected a name, received None"),
    ("del made.plan.name", "plan.name: expected a name, received None"),
    ("del made.plan.epochs", "plan.epochs: expected a value, received none"),
    ("made.data.foo = 1", "data: expected one of name,"),
    ("made.data.augmentation = 'fo'", "data.augmentation: expected one of default, none"),
    ("made.data.test_batch_size = 0", "data.test_batch_size: expected a whole number"),
    ("made.data.shuffle = 'files'", "data.shuffle: expected one of 'default', 'shards'"),
    ("made.data.shuffle_bytes = 0", "data.shuffle_bytes: expected a whole number"),
    ("made.data.dirichlet_alpha = -1.0", "data.dirichlet_alpha: expected a finite"),
    ("made.data.dirichlet_alpha = float('nan')", "data.dirichlet_alpha: expected"),
    ("made.model.weight_decay = float('nan')", "model.weight_decay: expected a finite number"),
    ("made.model.weight_decay = -1.0", "model.weight_decay: expected a finite number of at least"),
    ("made.model.dropout = float('inf')", "model.dropout: expected a finite number"),
    ("made.optimizer.weight_decay = float('inf')", "optimizer.weight_decay: expected a finite"),
    ("made.optimizer.num_nodes = 0", "optimizer.num_nodes: expected at least 1"),
    ("made.optimizer.name = 'Optimizer'", "optimizer.name: expected one of"),
    ("made.optimizer.name = 'LossScaleOptimizer'", "optimizer.name: expected one of"),
    ("made.optimizer.name = 'get'", "optimizer.name: expected one of"),
    ("made.optimizer.name = 'schedules'", "optimizer.name: expected one of"),
    ("made.model.name = 'resnet'", "model.name: expected one of"),
    ("made.plan.name = 'Plan'", "plan.name: expected one of"),
    ("made.plan.foo = 1", "plan: expected one of"),
    ("made.train.steps_per_execution = 'x'", "train.steps_per_execution: expected a whole number"),
    ("made.metric = 'val_acuracy'", "config.metric of arm first: expected one of accuracy, val_a"),
    ("made.targets = dict(val_acuracy=0.9)", "config.targets: expected one of accuracy, val_accu"),
    ("made.loss.name = 'MeanSquareError'", "loss.name: expected one of"),
    ("made.metrics = dict(acuracy={})", "metrics: expected one of"),
    ("made.metrics.accuracy.output = 'a'; made.metrics.mse = {}", "metrics.mse.output: expected"),
    ("made.model.name = 'mine:'", "model.name: expected module:function, received 'mine:'"),
    ("made.train.steps_per_execution = 'x'", "train.steps_per_execution: expected a whole number"),
    ("made.plan.name = 'nowhere:f'", "plan.name: expected module:function with a module that is"),
    *(
        (f"made.arms[{name!r}] = {{}}", "config.arms: expected names of folders")
        for name in ("a\nb", "a/b", "", "-a", "a\\b", "a:b", "a\0b", "a<b", "a" * 300, "é" * 150, 3)
    ),
    *((f"made.arms[{name!r}] = {{}}", "does not accept dots") for name in ("..", "a.b", ".lock")),
    *(
        (f"made.{key} = {value}", "TypeError: Could not override field")
        for key, value in (
            ("arms", "['a']"), ("arms.first", "'x'"), ("arms.first", "({},)"), ("data", "'x'"),
            ("data.num_examples", "'x'"), ("data.num_examples", "float('nan')"), ("plan", "(1,)"),
            ("data.train_split", "3"), ("seeds", "'x'"), ("checkpoint_minutes", "'x'"),
            ("model.name", "3"), ("plan.epochs", "print"), ("plan.epochs", "{'a': 3}"),
        )
    ),
    *(
        (f"made.{key} = None", f"config.{key}: expected")
        for key in ("data", "model", "optimizer", "plan", "arms", "seeds", "steps_per_execution",
                    "checkpoint_minutes", "first_seed")
    ),
]  # fmt: skip
WHOLE_FILES = [
    (b"def x(:\n", "line 1: SyntaxError: invalid syntax"),
    (b"\0\1\2", "SyntaxError"),
    (b"\xff\xfe", "SyntaxError"),
    (b"", "has no attribute 'get_config'"),
    (b"get_config = 3", "TypeError"),
    (b"def get_config(a, b): pass", "TypeError"),
    (b"raise SystemExit(0)", "SystemExit"),
    (b"raise RuntimeError", "RuntimeError"),
    (b"import os; os.chdir('/nowhere')", "FileNotFoundError"),
]


@pytest.mark.parametrize(("body", "expected"), FILES, ids=lambda v: v[:40])
def test_config_files(body, expected, fails, tmp_path):
    if body.startswith(("made.", "del ")):
        body = f"made.unlock(); {body}"
    (tmp_path / "mine.py").write_text(FILE.replace("BODY", body))
    line = fails("train", f"--workdir={tmp_path / 'run'}", f"--config={tmp_path / 'mine.py'}")
    assert_in_form(line, expected)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(("content", "expected"), WHOLE_FILES)
def test_files_that_are_not_configs(content, expected, fails, tmp_path):
    (tmp_path / "mine.py").write_bytes(content)
    assert_in_form(fails("plan", f"--config={tmp_path / 'mine.py'}"), expected)


# The command, its arguments, and the expected line. CONFIG is a valid config, FOLDER an empty
# folder, LONG a name that is too long, RUN a command that would train in the folder.
RUN = "--config=CONFIG:digits --workdir=FOLDER/a"
OTHERS = [
    ("plan", "", "--config: expected FILE[:VARIANT], received none"),
    ("plan", "--config=", "--config: expected FILE[:VARIANT], received none"),
    ("plan", "--config=nowhere.py", "--config: expected a Python file"),
    ("plan", "--config=FOLDER", "--config: expected a Python file"),
    ("plan", "--config=LONG.py", "received: File name too long"),
    ("plan", "--config=a\0b.py", "--config: expected a Python file"),
    ("plan", "--config=CONFIG:digit", "variant: expected one of"),
    ("plan", "--config=CONFIG:digits:x", "variant: expected one of"),
    ("plan", "--config=CONFIG:digits --format=xml", "--format: expected one of table, json"),
    ("plan", "--config=CONFIG:digits --workdir=x", "flag: expected one of"),
    ("plan", "--config=CONFIG:digits --probe=maybe", "--probe: expected true or false"),
    ("plan", "--config=CONFIG:digits --flagfile=x", "flag: expected one of"),
    ("plan", "--config=CONFIG:digits --config.=1", "config: expected one of"),
    ("plan", "--config=CONFIG:digits --config.plan.=1", "config.plan: expected one of"),
    (
        "plan",
        "--config=CONFIG:digits --config.plan.epochs.x=1",
        "epochs: expected none, received 'x'",
    ),
    ("plan", "--config=CONFIG:digits --config.arms.no.plan.epochs=1", "config.arms: expected one"),
    ("train", "--config=CONFIG:digits", "--workdir: expected a folder, received none"),
    ("train", "--config=CONFIG:digits --workdir=", "--workdir: expected a folder, received none"),
    ("train", "--workdir=FOLDER", "--config: expected FILE[:VARIANT], received none"),
    ("train", "--config=CONFIG:digits --workdir=/dev/null", "workdir /dev/null: expected"),
    ("train", "--config=CONFIG:digits --workdir=/proc/x", "workdir /proc/x: expected"),
    ("train", "--config=CONFIG:digits --workdir=FOLDER/LONG", "received: File name too long"),
    ("train", "--config=CONFIG:digits --workdir=FOLDER/a\0b", "expected a folder that can be"),
    ("train", f"{RUN} --seeds=3", "flag: expected one of"),
    ("train", f"{RUN} --arm=../x", "arm: expected one of"),
    ("train", f"{RUN} --seed=1.5", "--seed: expected a whole number"),
    ("train", f"{RUN} --seed=", "--seed: expected a whole number"),
    ("train", f"{RUN} --seed=nan", "--seed: expected a whole number"),
    ("train", f"{RUN} --worker_index=0", "--workers: expected"),
    ("train", f"{RUN} --workers=a:1", "--worker_index: expected"),
    ("train", f"{RUN} --strategy=gpu", "--strategy: expected one of"),
    ("train", f"{RUN} --memory_limit_mb=x", "--memory_limit_mb: expected a whole number"),
    ("train", f"{RUN} --num_logical_devices=0", "--num_logical_devices: expected a whole number"),
    ("replicate", "--config=CONFIG:digits", "--workdir: expected a folder, received none"),
    ("replicate", f"{RUN} --seeds=0", "--seeds: expected a whole number"),
    ("replicate", f"{RUN} --seeds=x", "--seeds: expected a whole number"),
    ("replicate", f"{RUN} --arm=hybrid", "flag: expected one of"),
    ("replicate", "--config=CONFIG:digits --workdir=FOLDER/LONG", "expected a folder that can be"),
    ("report", "", "--workdir: expected a folder, received none"),
    ("report", "--workdir=FOLDER", "expected a folder written by `lbkeras replicate`, received"),
    ("report", "--workdir=/nope", "/nope: expected a folder written by"),
    ("report", "--workdir=FOLDER/LONG", "received: File name too long"),
    ("report", "--workdir=FOLDER --config=CONFIG", "flag: expected one of"),
    ("report", "--workdir=FOLDER stray", "arguments: expected --FLAG=VALUE only, received 'stray'"),
    ("doctor", "--workdir=x", "flag: expected one of"),
    ("doctor", "stray", "arguments: expected --FLAG=VALUE only, received 'stray'"),
    ("trian", "--config=x", "command: expected one of plan, train"),
    ("--config=x", "", "command: expected one of plan, train"),
    ("", "", "command: expected one of plan, train"),
]


@pytest.mark.parametrize(("command", "arguments", "expected"), OTHERS, ids=lambda v: ascii(v)[:50])
def test_command_lines(command, arguments, expected, fails, smith, tmp_path):
    for name, value in (("CONFIG", smith), ("FOLDER", str(tmp_path)), ("LONG", "x" * 300)):
        arguments = arguments.replace(name, value)
    assert_in_form(fails(command, *arguments.split(" ") if arguments else ()), expected)
    assert not list(tmp_path.rglob("config.json"))
