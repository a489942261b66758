"""RESULTS.md from run records: one section a replication, regenerated and never edited.

python -m lbkeras.replication.results WORKDIR... --output=RESULTS.md

The output's sections whose replications are not among the WORKDIRs stay as they are: a replication
need not be at hand to add another.
"""

import argparse
import re
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from lbkeras import files
from lbkeras.errors import UserError
from lbkeras.replication import rendering
from lbkeras.replication.report import build_report

_INTRODUCTION = """# Results

Generated from run records by `python -m lbkeras.replication.results`, which replaces or adds the
sections of the replications that it is given; do not edit it.
A number of ours is a mean ± standard deviation over n finished seeds; n=1 marks a single run.
The paper's numbers stand in columns of their own."""


def render_results(workdirs: Iterable[Path | str], existing: str = "") -> str:
    """RESULTS.md: a section for each replication.

    A section takes the place of the existing one with the same heading; one that is new comes
    last, in the order given; the other existing ones stay. It holds no path of this machine but
    what the recorded command itself names.

    Args:
        workdirs: folders that `lbkeras replicate` wrote.
        existing: the text of an earlier RESULTS.md.

    Raises:
        UserError: a folder is no replication's, or a file in it is malformed; or two of them have
            the same heading, in the folders or in `existing`.
    """
    sections = _sections(existing)
    rendered = {}
    for workdir in workdirs:
        heading, text = _render_section(build_report(workdir))
        if heading in rendered:
            raise UserError(f"workdirs: expected one replication of each title, received two with "
                            f"the heading {heading!r}")  # fmt: skip
        rendered[heading] = text
    return "\n\n".join([_INTRODUCTION, *(sections | rendered).values()]) + "\n"


def _render_section(report: dict) -> tuple[str, str]:
    """A replication's heading and its whole section."""
    heading = f"## {report['title'] or report['config']}"
    blocks = [
        heading,
        rendering.render_paper(report),
        "\n".join(f"- {sentence}" for sentence in rendering.headline(report)),
        rendering.render_arms(report),
        rendering.render_claims(report),
        _render_outcomes(report),
        rendering.render_circumstances(report),
    ]
    return heading, "\n\n".join(block for block in blocks if block)


def _sections(text: str) -> dict[str, str]:
    """The sections of a RESULTS.md by heading; what stands before the first is not kept."""
    sections = {}
    for section in re.split(r"^(?=## )", text, flags=re.MULTILINE)[1:]:
        heading = section.partition("\n")[0].rstrip()
        if heading in sections:
            raise UserError(f"existing results: expected each heading once, received two sections "
                            f"{heading!r}")  # fmt: skip
        sections[heading] = section.strip()
    return sections


def main(arguments: Sequence[str] | None = None) -> int:
    """Prints RESULTS.md, or puts its sections into the file `--output`, atomically.

    Returns the exit status.
    """
    parser = argparse.ArgumentParser(prog="python -m lbkeras.replication.results")
    parser.add_argument("workdirs", nargs="+", metavar="WORKDIR")
    parser.add_argument(
        "--output", type=Path, help="the file to put the sections into, instead of printing"
    )
    options = parser.parse_args(arguments)
    try:
        existing = ""
        if options.output and options.output.exists():
            existing = options.output.read_text(encoding="utf-8")
        text = render_results(options.workdirs, existing)
    except UserError as error:
        print(f"lbkeras: error: {error}", file=sys.stderr)
        return 2
    if options.output:
        files.write_atomically(options.output, text.encode())
    else:
        sys.stdout.write(text)
    return 0


def _render_outcomes(report: dict) -> str:
    """The runs that did not finish; without error texts, which can name this machine's paths."""
    lines = [
        f"`{row['arm']}` seed {row['seed']} {rendering.describe_outcome(row)}"
        for row in report["runs_not_finished"]
    ]
    return f"Runs that did not finish: {'; '.join(lines)}." if lines else ""


if __name__ == "__main__":
    sys.exit(main())
