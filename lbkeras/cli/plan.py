"""`lbkeras plan`: what a config would do, in plain arithmetic, and what it would take here."""

import json
import sys

from lbkeras.advice import config_file as advised_config
from lbkeras.advice import words as advice
from lbkeras.advice.tables import format_advice, format_plans, format_probes
from lbkeras.cli.command_flags import CommandFlags, command_line
from lbkeras.cli.workers import define_device_flags
from lbkeras.errors import UserError
from lbkeras.runs import experiment

HELP = """lbkeras plan: shows the batch sizes, learning rates and updates of every arm of a config

examples:
  lbkeras plan --config=smith2018:paper_cifar10
  lbkeras plan --config=smith2018:digits --config.plan.batch_size=2
  lbkeras plan --config=smith2018:mnist --format=json
  lbkeras plan --config=own_model.py --config.arms.large.plan.batch_size=256
  lbkeras plan --config=smith2018:digits --probe
  lbkeras plan --config=smith2018:cifar10 --probe --memory_limit_mb=500 \\
      --data_dir=$HOME/tensorflow_datasets
  lbkeras plan --config=smith2018:digits --auto --write=recommended.py
  lbkeras train --config=recommended.py --workdir=runs/recommended

With --probe it trains a few updates at each batch size on the devices of the flags and shows the
largest micro-batch that fits into memory, examples/s, and the predicted time of every phase.

With --auto it advises on one arm: it trains a quarter of the epochs, at most about a minute, and
measures how large a batch still pays (the gradient noise scale, about the critical batch size) and
how fast this machine is. It recommends batch sizes and learning rates for the same epochs, and
says how many updates and how much time they take against the arm's own, and why. --write=FILE
saves that as a config with the arms `recommended` and `own`.
"""


def define_flags(command: CommandFlags) -> None:
    command.config()
    command.choice("format", "table", ["table", "json"], "How to print it.")
    command.boolean("probe", "Try every batch size on this machine: memory, speed, time.")
    command.boolean("auto", "Measure an arm and recommend a plan, with reasons.")
    command.string("arm", None, "Which arm --auto measures; the first if not given.")
    command.path("write", "New .py file: --auto saves what it recommends as a config.")
    command.path("data_dir", "Folder of prepared TensorFlow Datasets data, to measure.")
    define_device_flags(command, several_workers=False)


def main(arguments: list[str]) -> int:
    command = CommandFlags(HELP, arguments)
    define_flags(command)
    flags = command.parse()
    _check(flags)
    plans = experiment.make_plans(flags.config)
    for line in command.notes:
        _say_on_stderr(line)
    if flags.auto:
        _advise(flags, arguments, plans)
        return 0
    probes = _probe(flags, plans) if flags.probe else {}
    if flags.format == "json":
        arms = {arm: plan.to_dict() for arm, plan in plans.items()}
        for arm, found in probes.items():
            _add_probes(arms[arm]["phases"], plans[arm], found)
        print(json.dumps({"arms": arms}, indent=2))
    else:
        print(format_plans(plans))
        if probes:
            print("\n" + format_probes(plans, probes))
    return 0


def _check(flags) -> None:
    """Refuses flags that do not go together, and a file that cannot be written."""
    if flags.auto and flags.probe:
        raise UserError(
            "--auto: expected either it or --probe, received both; --auto tries the batch sizes of "
            "the plans that it compares"
        )
    for name in ("arm", "write"):
        if flags[name].value is not None and not flags.auto:
            raise UserError(f"--{name}: expected beside --auto, received without")
    if flags.write is not None:
        file = advised_config.check_destination(flags.write)
        advised_config.check_modules(file, experiment.arm_settings(flags.config, flags.arm))


def _advise(flags, arguments: list[str], plans: dict) -> None:
    """Measures an arm, prints what is recommended, and writes it."""
    arm = experiment.arm_names(flags.config)[0] if flags.arm is None else flags.arm
    settings = experiment.arm_settings(flags.config, arm)
    budget_mb = _configure_devices(flags)
    from lbkeras.advice import advisor
    from lbkeras.runs.config_task import ConfigTask

    advisor.check_arm(settings, arm)
    task = ConfigTask(settings, flags.data_dir)
    with task.reading_data():
        found = advisor.advise(task, flags.strategy, budget_mb, say=_say_on_stderr)
    table = format_advice(found, f"own ({arm})")
    if flags.format == "json":
        arms = {name: plan.to_dict() for name, plan in plans.items()}
        print(
            json.dumps({"arms": arms, "recommendation": advice.advice_data(arm, found)}, indent=2)
        )
    else:
        print(f"{table}\n\n{advice.format_reasons(advice.reasons(found))}")
    if flags.write is None:
        return
    file = advised_config.check_destination(flags.write)
    named, command = flags["config"].config_filename, command_line(arguments)
    advised_config.write_config(file, flags.config, arm, named, command, found, table)
    _say_on_stderr(
        f"{file}: written; lbkeras train --config={file} --workdir=runs/{file.stem} trains it"
    )


def _say_on_stderr(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _configure_devices(flags) -> float | None:
    """Prepares the devices of the flags; returns what a trial may take on a CPU without a limit."""
    from lbkeras import devices

    budget_mb = None
    if flags.memory_limit_mb == 0:
        budget_mb = devices.count_cpu_memory()
    devices.configure_devices(flags.num_logical_devices, flags.memory_limit_mb)
    return budget_mb


def _probe(flags, plans: dict) -> dict:
    """For each arm what each of its batch sizes takes; arms that differ in the plan share."""
    budget_mb = _configure_devices(flags)
    from lbkeras.advice.probe import probe_batch_sizes
    from lbkeras.runs.config_task import ConfigTask

    groups = {}
    for arm in plans:
        settings = experiment.arm_settings(flags.config, arm)
        same = {name: settings[name] for name in settings if name not in ("plan", "callbacks")}
        key = json.dumps(same, sort_keys=True)
        groups.setdefault(key, (settings, []))[1].append(arm)
    probes = {}
    for settings, arms in groups.values():
        batch_sizes = [phase.batch_size for arm in arms for phase in plans[arm].phases]
        task = ConfigTask(settings, flags.data_dir)
        with task.reading_data():
            found = probe_batch_sizes(
                task,
                task.plan,
                sorted(set(batch_sizes)),
                flags.strategy,
                budget_mb,
                say=_say_on_stderr,
            )
        probes |= {arm: found for arm in arms}
    return probes


def _add_probes(rows: list[dict], plan, probes: dict) -> None:
    """Adds to each phase of a plan's JSON what it takes on this machine."""
    from lbkeras.advice.predict import predicted_seconds

    for row, seconds in zip(rows, predicted_seconds(plan, probes), strict=True):
        probe = probes[row["batch_size"]]
        row["micro_batch_size"] = probe.micro_batch_size
        row["memory_mb"] = probe.memory_mb
        row["examples_per_second"] = probe.examples_per_second
        row["seconds"] = seconds
