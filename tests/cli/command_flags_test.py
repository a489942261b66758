"""Each wrong flag, config file and override is reported in one line that says what to fix."""

import pytest


@pytest.mark.parametrize("command", ["plan", "train", "replicate"])
def test_missing_config(command, fails):
    assert fails(command, "--workdir=w" if command != "plan" else "--format=json") == (
        "--config: expected FILE[:VARIANT], received none"
    )


@pytest.mark.parametrize("flags", [["--config="], ["--config"]])
def test_empty_config(flags, fails):
    assert fails("plan", *flags) == "--config: expected FILE[:VARIANT], received none"


@pytest.mark.parametrize("command", ["train", "replicate"])
@pytest.mark.parametrize("flags", [[], ["--workdir="]])
def test_missing_workdir(command, flags, fails, smith):
    assert fails(command, f"--config={smith}", *flags) == (
        "--workdir: expected a folder, received none"
    )


def test_missing_workdir_of_report(fails):
    assert fails("report") == "--workdir: expected a folder, received none"


def test_unknown_flag_names_the_nearest(fails, smith):
    assert fails("train", f"--confg={smith}") == (
        "flag: expected one of --config, --workdir, --arm, --data_dir, --strategy, "
        "--num_logical_devices, --memory_limit_mb, --workers, --worker_index, "
        "--worker_timeout, --token_file, --micro_batch_size, --seed, "
        "--dry_run, --fake_data, --format, received '--confg' (did you mean '--config'?)"
    )


@pytest.mark.parametrize("flag", ["--flagfile=x", "--undefok=y", "--helpfull", "--noformat"])
def test_flags_that_the_help_does_not_list_are_unknown(flag, fails, smith):
    assert "flag: expected one of --config, --format" in fails("plan", f"--config={smith}", flag)


def test_stray_argument(fails, smith):
    assert fails("plan", f"--config={smith}", "digits") == (
        "arguments: expected --FLAG=VALUE only, received 'digits'"
    )


@pytest.mark.parametrize("flag", ["--format", "--config.plan.epochs"])
def test_flag_without_its_value(flag, fails, smith):
    assert fails("plan", f"--config={smith}", flag) == f"Missing value for flag {flag}"


def test_unknown_choice_names_the_nearest(fails, smith):
    assert fails("train", f"--config={smith}", "--workdir=w", "--strategy=mirored") == (
        "--strategy: expected one of auto, one, mirrored, multi_worker, tpu, received 'mirored' "
        "(did you mean 'mirrored'?)"
    )


@pytest.mark.parametrize(
    ("command", "flag", "expected"),
    [
        (
            "train",
            "--seed=-1",
            "--seed: expected a whole number from 0 to 4294967295, received '-1'",
        ),
        (
            "train",
            "--seed=one",
            "--seed: expected a whole number from 0 to 4294967295, received 'one'",
        ),
        ("replicate", "--seeds=0", "--seeds: expected a whole number of at least 1, received '0'"),
    ],
)
def test_whole_number_flags(command, flag, expected, fails, smith):
    assert fails(command, f"--config={smith}", "--workdir=w", flag) == expected


def test_missing_config_file(fails):
    assert fails("plan", "--config=no/such.py:digits") == (
        "--config: expected a Python file, received 'no/such.py', which does not exist"
    )


def test_config_that_is_not_a_python_file(fails, tmp_path):
    assert "which is not a .py file" in fails("plan", f"--config={tmp_path}")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("x = 1\ndef get_config(:\n", "line 2: SyntaxError: invalid syntax"),
        ("def get_config():\n    return 1 / 0\n", "line 2: ZeroDivisionError: division by zero"),
        ("raise RuntimeError('two\\nlines')\n", "line 1: RuntimeError: two lines"),
        ("import nosuchmodule\n", "line 1: ModuleNotFoundError: No module named 'nosuchmodule'"),
        ("x = 1\n", "has no attribute 'get_config'"),
        ("def get_config():\n    return {'plan': 1}\n", "received one without data, model"),
        ("from ml_collections import ConfigDict\ndef get_config():\n    return ConfigDict()\n",
         "expected a dict or ConfigDict with data, model, plan, received one without data, model,"),
        ("def get_config():\n    return 3\n", "received a int"),
    ],
)  # fmt: skip
def test_config_file_without_a_valid_config(text, expected, fails, tmp_path):
    path = tmp_path / "broken.py"
    path.write_text(text)
    message = fails("plan", f"--config={path}")
    assert message.startswith(f"--config={path}: ")
    assert expected in message


def test_unknown_variant_names_the_nearest(fails, smith):
    assert fails("plan", f"--config={smith}:digit") == (
        f"--config={smith}:digit: variant: expected one of digits, digits_tuning, mnist, "
        "characters, characters_tuning, cifar10, paper_cifar10, gpu_cifar10, optimizers, "
        "learning_rates, imagenet, imagenet_momentum, imagenet_tpu, "
        "received 'digit' (did you mean 'digits'?)"
    )


@pytest.mark.parametrize(
    ("flag", "section", "nearest"),
    [
        ("--config.plan.epoch=3", "config.plan", "epochs"),
        ("--config.plam.epochs=3", "config", "plan"),
        ("--config.model.widht=3", "config.model", "width"),
        ("--config.arms.orignal.plan.strategy=hybrid", "config.arms", "original"),
    ],
)
def test_unknown_key_names_the_nearest(flag, section, nearest, fails, smith):
    message = fails("plan", f"--config={smith}:digits", flag)
    assert message.startswith(f"{section}: expected one of ")
    assert message.endswith(f"(did you mean {nearest!r}?)")


def test_key_inside_a_number(fails, smith):
    message = fails("plan", f"--config={smith}:digits", "--config.plan.epochs.most=3")
    assert message.startswith("config.plan.epochs: expected ")


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("plan.epochs=ten", "a whole number, received 'ten'"),
        ("plan.epochs=3.5", "a whole number, received '3.5'"),
        ("plan.momentum=high", "a number, received 'high'"),
        ("plan.increased_momentum=high", "a number, received 'high'"),
        ("optimizer.nesterov=maybe", "true or false, received 'maybe'"),
        ("plan.boundaries=5", "a tuple like (12, 24, 32), received '5'"),
        ("plan.boundaries=early", "a tuple like (12, 24, 32), received 'early'"),
    ],
)
def test_wrong_type(override, expected, fails, smith):
    key = override.split("=")[0]
    message = fails("plan", f"--config={smith}:digits", f"--config.{override}")
    assert message == f"config.{key}: expected {expected}"


def test_a_section_takes_no_value(fails, smith):
    message = fails("plan", f"--config={smith}:digits", "--config.optimizer=SGD")
    assert message == (
        "config.optimizer: expected --config.optimizer.KEY=VALUE where KEY is one of name, "
        "nesterov, received --config.optimizer=SGD"
    )


def test_a_name_that_every_arm_sets_itself_is_refused(fails, smith):
    message = fails("plan", f"--config={smith}:optimizers", "--config.optimizer.name=SGD")
    assert message == (
        "config.optimizer.name: expected a name that some arm takes from the config, received one "
        "that every arm sets itself; use --config.arms.ARM.optimizer.name=SGD"
    )


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("plan.batch_size=0", "arm original: plan.batch_size: expected a whole number of at least "
         "1, received 0"),
        ("plan.batch_size=-4", "received -4"),
        ("plan.batch_size=1438", "arm original: plan.batch_size: expected at most "
         "num_examples=1437, received 1438"),
        ("arms.large_batch_naive.plan.batch_size=2000", "arm large_batch_naive: plan.batch_size: "
         "expected at most num_examples=1437, received 2000"),
        ("plan.boundaries=(36,18)", "arm original: plan.boundaries: expected epochs in increasing "
         "order inside (0, 40), received (36, 18)"),
        ("plan.boundaries=(18,40)", "order inside (0, 40), received (18, 40)"),
        ("plan.momentum=1.0", "arm original: plan.momentum: expected a number in [0, 1), "
         "received 1.0"),
        ("plan.momentum=-0.1", "received -0.1"),
        ("plan.momentum=nan", "received nan"),
        ("plan.learning_rate=0.0", "arm original: plan.learning_rate: expected a finite number "
         "above 0, received 0.0"),
        ("plan.max_batch_size=19", "arm increased_learning_rate: plan.max_batch_size: expected at "
         "least the start batch size 20, received 19"),
        ("data.num_examples=0", "arm original: data.num_examples: expected a whole number of at "
         "least 1, received 0"),
        ("arms.hybrid.plan.strategy=hybird", "arm hybrid: plan.strategy: expected one of "
         "'decay_learning_rate', 'increase_batch', 'hybrid', received 'hybird' (did you mean "
         "'hybrid'?)"),
        ("plan.name=noise_scale", "(did you mean 'noise_scale_plan'?)"),
        ("plan.name=steps_plan", "arm original: plan: expected one of "),
    ],
)  # fmt: skip
def test_values_without_a_valid_plan(override, expected, fails, smith):
    assert expected in fails("plan", f"--config={smith}:digits", f"--config.{override}")
