"""`lbkeras report`: renders the report of a replication from its run records."""

from pathlib import Path

from lbkeras.cli.command_flags import CommandFlags
from lbkeras.replication.pictures import FORMATS
from lbkeras.terminal_text import terminal_width, wrapped

HELP = """lbkeras report: renders report.md, report.json and plots/*.png from run records

examples:
  lbkeras report --workdir=runs/smith2018_digits
  lbkeras report --workdir=runs/smith2018_digits --plot_format=pdf

It can run at any time, even during `lbkeras replicate`: missing runs are listed
as such. Lines in a file notes.txt in that folder go into the report.
"""


def define_flags(command: CommandFlags) -> None:
    command.folder("workdir", "The folder that `lbkeras replicate` made.")
    command.choice("plot_format", "png", FORMATS, "Plot format; png is always written too.")


def main(arguments: list[str]) -> int:
    command = CommandFlags(HELP, arguments)
    define_flags(command)
    flags = command.parse()
    report(Path(flags.workdir), flags.plot_format)
    return 0


def report(workdir: Path, plot_format: str = "png") -> None:
    """Writes the report of a replication and prints its table."""
    from lbkeras.replication.report import write_report
    from lbkeras.replication.terminal import format_table

    width = terminal_width()
    print(format_table(write_report(workdir, plot_format), width))
    for name, path in (("report", workdir / "report.md"), ("plots", workdir / "plots")):
        print(wrapped(f"{name}: {path}", width))
