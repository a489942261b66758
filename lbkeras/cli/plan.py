"""`lbkeras plan`: shows what a config would do, by arithmetic, and what it would take here."""

import json
import sys

from lbkeras.advice import config_file as advised_config
from lbkeras.advice import words as advice
from lbkeras.advice.tables import format_advice, format_plans, format_probes
from lbkeras.cli.command_flags import CommandFlags, command_line
from lbkeras.cli.workers import define_device_flags
from lbkeras.errors import UserError
from lbkeras.runs import experiment
from lbkeras.terminal_text import terminal_width

HELP = """lbkeras plan: shows batch sizes, learning rates and updates of a config's arms

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

With --probe, it trains a few updates at each batch size on the chosen devices.
It shows the largest micro-batch that fits into memory, examples/s, and the
predicted time of every phase.

With --auto, it recommends a plan for one arm. It trains for a quarter of the
epochs, at most about a minute, and measures how large a batch still pays off
(the gradient noise scale, about the critical batch size) and how fast this
machine is. It then recommends batch sizes and learning rates for the same
number of epochs, compares their updates and time with those of the arm's own
plan, and gives its reasons. --write=FILE saves the result as a config with the
arms `recommended` and `own`.
"""


def define_flags(command: CommandFlags) -> None:
    command.config()
    command.choice("format", "table", ["table", "json"], "Output format.")
    command.boolean("probe", "Measure memory, speed and time of every batch size on this machine.")
    command.boolean("auto", "Measure an arm and recommend a plan, with reasons.")
    command.string("arm", None, "The arm that --auto measures; the first if not given.")
    command.path("write", "New .py file to which --auto saves its recommendation as a config.")
    command.path("data_dir", "Folder of prepared TensorFlow Datasets data, for --probe and --auto.")
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
        width = terminal_width()
        print(format_plans(plans, width))
        if probes:
            print("\n" + format_probes(plans, probes, width=width))
    return 0


def _check(flags) -> None:
    """Refuses flags that contradict each other, and a file that cannot be written."""
    if flags.auto and flags.probe:
        raise UserError(
            "--auto: expected --auto or --probe, received both; --auto measures the batch sizes of "
            "the plans that it compares"
        )
    for name in ("arm", "write"):
        if flags[name].value is not None and not flags.auto:
            raise UserError(f"--{name}: expected only together with --auto, received without it")
    if flags.write is not None:
        file = advised_config.check_destination(flags.write)
        advised_config.check_modules(file, experiment.arm_settings(flags.config, flags.arm))


def _advise(flags, arguments: list[str], plans: dict) -> None:
    """Measures an arm, prints the recommendation, and writes it if a file is given."""
    arm = experiment.arm_names(flags.config)[0] if flags.arm is None else flags.arm
    settings = experiment.arm_settings(flags.config, arm)
    budget_mb = _configure_devices(flags)
    from lbkeras.advice import advisor
    from lbkeras.runs.config_task import ConfigTask

    advisor.check_arm(settings, arm)
    task = ConfigTask(settings, flags.data_dir)
    with task.reading_data():
        found = advisor.advise(task, flags.strategy, budget_mb, say=_say_on_stderr)
    if flags.format == "json":
        arms = {name: plan.to_dict() for name, plan in plans.items()}
        print(
            json.dumps({"arms": arms, "recommendation": advice.advice_data(arm, found)}, indent=2)
        )
    else:
        width = terminal_width()
        table = format_advice(found, f"own ({arm})", width)
        print(f"{table}\n\n{advice.format_reasons(advice.reasons(found), width)}")
    if flags.write is None:
        return
    file = advised_config.check_destination(flags.write)
    named, command = flags["config"].config_filename, command_line(arguments)
    table = format_advice(found, f"own ({arm})")
    advised_config.write_config(file, flags.config, arm, named, command, found, table)
    _say_on_stderr(
        f"{file}: written; train it with lbkeras train --config={file} --workdir=runs/{file.stem}"
    )


def _say_on_stderr(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _configure_devices(flags) -> float | None:
    """Prepares the devices; returns a trial's CPU memory in MB, or None if memory is limited."""
    from lbkeras import devices

    budget_mb = None
    if flags.memory_limit_mb == 0:
        budget_mb = devices.count_cpu_memory()
    devices.configure_devices(flags.num_logical_devices, flags.memory_limit_mb)
    return budget_mb


def _probe(flags, plans: dict) -> dict:
    """Measures each arm's batch sizes, once for arms that differ only in plan and callbacks."""
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
        whose = f"{', '.join(arms)}: " if len(groups) > 1 else ""
        with task.reading_data():
            found = probe_batch_sizes(
                task,
                task.plan,
                sorted(set(batch_sizes)),
                flags.strategy,
                budget_mb,
                say=lambda line, whose=whose: _say_on_stderr(f"{whose}{line}"),
            )
        probes |= {arm: found for arm in arms}
    return probes


def _add_probes(rows: list[dict], plan, probes: dict) -> None:
    """Adds what each phase takes on this machine to a plan's JSON."""
    from lbkeras.advice.predict import predicted_seconds

    for row, seconds in zip(rows, predicted_seconds(plan, probes), strict=True):
        probe = probes[row["batch_size"]]
        row["micro_batch_size"] = probe.micro_batch_size
        row["memory_mb"] = probe.memory_mb
        row["examples_per_second"] = probe.examples_per_second
        row["seconds"] = seconds
