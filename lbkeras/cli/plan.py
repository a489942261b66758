"""`lbkeras plan`: what a config would do, in plain arithmetic, without TensorFlow."""

import json

from lbkeras import experiment
from lbkeras.cli.command_flags import CommandFlags, HelpShown

HELP = """lbkeras plan: shows the batch sizes, learning rates and updates of every arm of a config

examples:
  lbkeras plan --config=configs/papers/smith2018.py:paper_cifar10
  lbkeras plan --config=configs/papers/smith2018.py:digits --config.plan.batch_size=2
  lbkeras plan --config=configs/papers/smith2018.py:mnist --format=json
"""


def main(arguments: list[str]) -> int:
    command = CommandFlags(HELP, arguments)
    command.config()
    command.choice("format", "table", ["table", "json"], "How to print it.")
    try:
        flags = command.parse()
    except HelpShown:
        return 0
    plans = experiment.make_plans(flags.config)
    if flags.format == "json":
        print(json.dumps({"arms": {arm: plan.to_dict() for arm, plan in plans.items()}}, indent=2))
    else:
        print(format_plans(plans))
    return 0


def format_plans(plans: dict) -> str:
    """A table with a row a phase, and for each arm its updates against the first arm's."""
    header = ("arm", "epochs", "batch", "learning rate", "momentum", "steps/epoch", "noise scale")
    baseline = next(iter(plans.values())).updates()
    rows, summaries = [header], []
    for arm, plan in plans.items():
        for index, phase in enumerate(plan.phases):
            last = phase.first_epoch + phase.epochs
            rows.append(
                (
                    arm if index == 0 else "",
                    f"{phase.first_epoch + 1}-{last}",
                    f"{phase.batch_size:,}",
                    f"{phase.learning_rate:.6g}",
                    f"{phase.momentum:g}",
                    f"{plan.steps_per_epoch(phase.first_epoch):,}",
                    f"{plan.noise_scale(phase.first_epoch):,.4g}",
                )
            )
        fewer = f"{baseline / plan.updates():.2f}x fewer" if plan.updates() != baseline else ""
        summaries.append((arm, f"{plan.updates():,} updates", fewer))
    return _aligned(rows) + "\n\n" + _aligned(summaries)


def _aligned(rows) -> str:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = []
    for row in rows:
        cells = [row[0].ljust(widths[0])]
        cells += [cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True)]
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)
