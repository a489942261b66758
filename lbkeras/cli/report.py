"""`lbkeras report`: the report of a replication, from its run records."""

from pathlib import Path

from lbkeras.cli.command_flags import CommandFlags, HelpShown

HELP = """lbkeras report: renders report.md, report.json and plots/*.png from the run records

examples:
  lbkeras report --workdir=runs/smith2018_digits

It can run at any time, also while `lbkeras replicate` is under way: what has not run is listed so.
Lines that you write in notes.txt in that folder go into the report.
"""


def define_flags(command: CommandFlags) -> None:
    command.folder("workdir", "The folder that `lbkeras replicate` made.")


def main(arguments: list[str]) -> int:
    command = CommandFlags(HELP, arguments)
    define_flags(command)
    try:
        flags = command.parse()
    except HelpShown:
        return 0
    report(Path(flags.workdir))
    return 0


def report(workdir: Path) -> None:
    """Writes the report of a replication and prints its table."""
    from lbkeras.replication.report import write_report
    from lbkeras.replication.terminal import format_table

    print(format_table(write_report(workdir)))
    print(f"\nreport: {workdir / 'report.md'}, plots: {workdir / 'plots'}")
