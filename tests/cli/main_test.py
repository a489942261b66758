"""The program as a whole: help, exit statuses, imports."""

import json
import shlex
import subprocess
import sys

import pytest

import lbkeras
from lbkeras.cli.main import COMMANDS, main
from lbkeras.cli.signals import Terminated


@pytest.mark.parametrize("arguments", [["--help"], ["-h"], ["help"]])
def test_help_of_the_program_names_every_command(arguments, succeeds):
    text = succeeds(*arguments)
    assert all(f"  {name} " in text for name in COMMANDS)


def test_without_a_command_shows_the_usage_and_fails(capsys):
    assert main([]) == 2
    assert "usage: lbkeras COMMAND" in capsys.readouterr().out


def test_the_version_of_the_program(succeeds):
    assert succeeds("--version") == f"lbkeras {lbkeras.__version__}\n"


DEVICES = ["--strategy", "--num_logical_devices", "--memory_limit_mb"]
TRAINING = [
    "--data_dir", *DEVICES, "--workers", "--worker_index", "--worker_timeout",
    "--token_file", "--micro_batch_size",
]  # fmt: skip
DRY_RUN = ("--dry_run", "--fake_data", "--format")
FLAGS = {
    "plan": [
        *("--config", "--format", "--probe", "--auto", "--arm", "--write", "--data_dir"),
        *DEVICES,
    ],
    "train": ["--config", "--workdir", "--arm", *TRAINING, "--seed", *DRY_RUN],
    "replicate": ["--config", "--workdir", "--seeds", *TRAINING],
    "report": ["--workdir", "--plot_format"],
    "configs": [],
    "init": ["--write"],
    "doctor": ["--data_dir"],
    "completion": [],
}


@pytest.mark.parametrize("command", COMMANDS)
def test_help_of_a_command_teaches_by_example_and_lists_all_flags(command, succeeds):
    text = succeeds(command, "--help")
    assert f"\n  lbkeras {command}" in text
    listed = [line.strip() for line in text.splitlines() if line.startswith("  --")]
    assert listed == FLAGS[command]
    assert max(map(len, text.splitlines())) <= 80


def _examples(text):
    lines = text.replace("\\\n", " ").splitlines()
    return [shlex.split(line)[1:] for line in lines if line.startswith("  lbkeras ")]


def test_the_examples_of_plan_run(succeeds, monkeypatch, request):
    monkeypatch.chdir(request.config.rootpath / "configs")  # where own_model.py is
    examples = _examples(succeeds("--help")) + _examples(succeeds("plan", "--help"))
    examples = [example for example in examples if example[0] == "plan"]
    assert len(examples) >= 4
    for example in examples:
        if not {"--probe", "--auto"} & set(example):  # plan_test.py and advice_test.py run these
            assert succeeds(*example)


@pytest.mark.parametrize("command", ["train", "replicate"])
def test_the_configs_of_other_examples_can_be_planned(command, succeeds, monkeypatch, request):
    monkeypatch.chdir(request.config.rootpath / "configs")  # where own_model.py is
    examples = _examples(succeeds(command, "--help"))
    assert len(examples) >= 2
    for example in examples:
        assert succeeds("plan", *(flag for flag in example if flag.startswith("--config")))


def test_the_micro_batches_of_examples_fit_into_their_arms_batches(succeeds):
    tried = 0
    for _, *flags in _examples(succeeds("train", "--help")):
        given = dict(flag.lstrip("-").split("=", 1) for flag in flags if "=" in flag)
        if "micro_batch_size" in given:
            arms = json.loads(succeeds("plan", f"--config={given['config']}", "--format=json"))
            phases = arms["arms"][given["arm"]]["phases"]
            replicas = int(given.get("num_logical_devices", 1))
            largest = max(phase["batch_size"] for phase in phases) // replicas
            assert int(given["micro_batch_size"]) <= largest
            tried += 1
    assert tried >= 2


def test_unknown_command_names_the_nearest(fails):
    message = fails("trian", "--config=x")
    assert message == (
        f"command: expected one of {', '.join(COMMANDS)}, received 'trian' (did you mean 'train'?)"
    )


def test_an_error_of_the_operating_system_is_one_line(fails, monkeypatch):
    def full(arguments):
        raise OSError(28, "No space left on device", "runs/a/history.jsonl")

    monkeypatch.setattr("lbkeras.cli.report.main", full)
    assert fails("report", "--workdir=x") == (
        "runs/a/history.jsonl: expected a place that can be read and written, "
        "received: No space left on device"
    )


@pytest.mark.parametrize(
    ("signal", "said", "status"),
    [(KeyboardInterrupt, "interrupted", 130), (Terminated, "terminated", 143)],
)
def test_an_interrupt_outside_training_says_how_to_resume_where_that_is_possible(
    signal, said, status, monkeypatch, capsys
):
    def interrupt(arguments):
        raise signal

    for command in ("plan", "report", "replicate", "train"):
        monkeypatch.setattr(f"lbkeras.cli.{command}.main", interrupt)
    resume = "; to resume, run the same command again: lbkeras"
    for arguments, more in {
        ("plan", "--config=x", "--auto"): "",
        ("report", "--workdir=a b"): "",
        ("train", "--config=x", "--dry_run"): "",
        ("train", "--config=x", "--workdir=a b"): f"{resume} train --config=x '--workdir=a b'",
        ("replicate", "--workdir=a b"): f"{resume} replicate '--workdir=a b'",
    }.items():
        assert main(list(arguments)) == status
        assert capsys.readouterr().err == f"lbkeras: {said}{more}\n"


def test_a_bug_keeps_its_traceback(monkeypatch):
    def broken(arguments):
        raise ZeroDivisionError

    monkeypatch.setattr("lbkeras.cli.report.main", broken)
    with pytest.raises(ZeroDivisionError):
        main(["report", "--workdir=x"])


def test_plan_does_not_load_tensorflow(smith):
    program = (
        "import sys; from lbkeras.cli.main import main\n"
        f"status = main(['plan', '--config={smith}:digits'])\n"
        "heavy = {'tensorflow', 'keras', 'matplotlib', 'sklearn'} & set(sys.modules)\n"
        "sys.exit(status or repr(heavy) if status or heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_user_error_of_a_real_process_is_one_line(process, smith):
    run = process("plan", f"--config={smith}:digits", "--config.plan.epoch=3")
    out, error = run.communicate(timeout=60)
    assert (run.returncode, out) == (2, "")
    assert error.startswith("lbkeras: error: config.plan: expected one of ")
    assert error.endswith("received 'epoch' (did you mean 'epochs'?)\n")
    assert error.count("\n") == 1
