"""RESULTS.md from run records: one section a replication, regenerated and never edited.

python -m lbkeras.replication.results WORKDIR... --output=RESULTS.md
"""

import argparse
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from lbkeras import files
from lbkeras.errors import UserError
from lbkeras.replication import rendering
from lbkeras.replication.report import build_report

_INTRODUCTION = """# Results

Generated from run records by `python -m lbkeras.replication.results`; do not edit it.
A number of ours is a mean ± standard deviation over n finished seeds; n=1 marks a single run.
The paper's numbers stand in columns of their own."""


def render_results(workdirs: Iterable[Path | str]) -> str:
    """RESULTS.md: a section for each replication, in the order given.

    It holds no path of this machine but what the recorded command itself names.

    Args:
        workdirs: folders that `lbkeras replicate` wrote.

    Raises:
        UserError: a folder is no replication's, or a file in it is malformed.
    """
    sections = [_INTRODUCTION]
    for workdir in workdirs:
        report = build_report(workdir)
        sections += [
            f"## {report['title'] or report['config']}",
            rendering.render_paper(report),
            "\n".join(f"- {sentence}" for sentence in rendering.headline(report)),
            rendering.render_arms(report),
            rendering.render_claims(report),
            _render_outcomes(report),
            rendering.render_circumstances(report),
        ]
    return "\n\n".join(section for section in sections if section) + "\n"


def main(arguments: Sequence[str] | None = None) -> int:
    """Prints RESULTS.md, or writes it atomically to `--output`; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m lbkeras.replication.results")
    parser.add_argument("workdirs", nargs="+", metavar="WORKDIR")
    parser.add_argument("--output", type=Path, help="the file to write instead of printing")
    options = parser.parse_args(arguments)
    try:
        text = render_results(options.workdirs)
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
