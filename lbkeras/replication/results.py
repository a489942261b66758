"""Renders RESULTS.md from the kept files of each replication.

python -m lbkeras.replication.results [--results=results] [--output=RESULTS.md] [--check]

Each folder under results/ is a section, in the order of the folders' names (author, year, variant):

- a replication that `python -m lbkeras.replication.keep` put there is rendered from its records;
- a replication whose records are gone has its old text, section.md;
- other measurements have a text, measurements.md, beside the files with their numbers.

If the folder of RESULTS.md has a configs/papers, this also writes configs/papers/measured.json, the
measurements of each variant, which `lbkeras configs` reads. If it has a docs folder as well, this
also writes docs/proof.md, a table of all claims and their verdicts.
"""

import argparse
import dataclasses
import json
import re
import sys
from collections.abc import Sequence
from pathlib import Path

from lbkeras import files
from lbkeras.errors import UserError
from lbkeras.replication import markdown, measured, proof
from lbkeras.replication.comparison import ALPHA, holm
from lbkeras.replication.formats import describe_outcome
from lbkeras.replication.report import build_report

_RECORDS, _OLD, _MEASUREMENTS = "replication.json", "section.md", "measurements.md"
_INTRODUCTION = """# Results

Rendered by `python -m lbkeras.replication.results` from the files under `results/`; do not edit.
Our numbers are mean ± standard deviation over n finished seeds; n=1 marks a single run. The paper's
numbers have their own columns."""
_GONE = (
    "The records of these runs are gone: the numbers and verdicts are those that lbkeras 0.1.0 "
    "reported, by its rules: Welch's unpaired test, each claim on its own."
)
# A tested claim of a section whose records are gone: verdict, finding, p-value in the reason.
_TESTED = re.compile(
    r"^\|.* \| \*\*(.+?)\*\* \|.*\| ([^|]+?) \([^;|]+; p [=<] ([.\d]+)\)\. \|$", re.M
)


def render_results(results: Path | str = "results") -> str:
    """Returns the text of RESULTS.md: a section for each folder in `results`, sorted by name.

    Args:
        results: the folder that `keep_results` fills.

    Raises:
        UserError: a folder in it has none or more than one of replication.json, section.md and
            measurements.md; a file is malformed; or two sections have the same heading.
    """
    return _render(_sections(results))


@dataclasses.dataclass(frozen=True)
class _Section:
    """A folder's section; for a replication also its measurements and its claims' verdicts."""

    heading: str
    text: str
    measured: dict | None = None
    claims: proof.Measured | None = None


def _sections(results: Path | str) -> dict[str, _Section]:
    """Returns the section of each folder, by the folder's name."""
    folders = sorted(path for path in Path(results).glob("[!.]*") if path.is_dir())
    if not folders:
        raise UserError(f"{results}: expected a folder of kept replications, found none")
    sections: dict[str, _Section] = {}
    for folder in folders:
        section = _section(folder)
        if section.heading in [each.heading for each in sections.values()]:
            raise UserError(
                f"{folder}: expected a heading that no other section has, "
                f"received {section.heading!r}"
            )
        sections[folder.name] = section
    return sections


def _render(sections) -> str:
    return "\n\n".join([_INTRODUCTION, *(each.text for each in sections.values())]) + "\n"


def _render_measured(sections) -> str:
    """Returns the text of configs/papers/measured.json."""
    found = {name: each.measured for name, each in sections.items() if each.measured}
    return json.dumps(measured.by_paper(found), indent=1, ensure_ascii=False) + "\n"


def _section(folder: Path) -> _Section:
    names = _RECORDS, _OLD, _MEASUREMENTS
    found = [name for name in names if (folder / name).exists()]
    if len(found) != 1:
        raise UserError(
            f"{folder}: expected one of {', '.join(names)}, "
            f"received {' and '.join(found) or 'none of them'}"
        )
    if found == [_RECORDS]:
        report = build_report(folder)
        escaped = markdown.as_markdown(report)
        heading, text = _render_section(escaped)
        claims = proof.of_report(escaped, heading.removeprefix("## "))
        return _Section(heading, text, measured.of_report(report), claims)
    heading, rest = _read_section(folder / found[0])
    if found == [_MEASUREMENTS]:
        return _Section(heading, f"{heading}\n\n{rest}")
    text = f"{heading}\n\n{_GONE}{_correct(rest)}\n\n{rest}"
    claims = proof.of_section(rest, heading.removeprefix("## "))
    return _Section(heading, text, measured.of_section(rest), claims)


def _render_section(report: dict) -> tuple[str, str]:
    heading = f"## {report['title'] or report['config']}"
    blocks = [
        heading,
        markdown.render_paper(report),
        "\n".join(f"- {sentence}" for sentence in markdown.headline(report)),
        markdown.render_arms(report),
        markdown.render_claims(report),
        _render_outcomes(report),
        markdown.render_circumstances(report),
    ]
    return heading, "\n\n".join(block for block in blocks if block)


def _read_section(path: Path) -> tuple[str, str]:
    """Reads a section's text: its heading, and what is below it."""
    text = path.read_text(encoding="utf-8").strip()
    heading, _, rest = text.partition("\n")
    if not heading.startswith("## ") or "\n## " in rest:
        raise UserError(
            f"{path}: expected one section that starts with '## ', received {heading!r}"
        )
    return heading, rest.strip()


def _correct(text: str) -> str:
    """Says which of an old section's verdicts do not survive Holm's correction.

    A reason prints the p-value of its verdict; the p-value of the other direction is 1 - p. Where
    the verdict is inconclusive, both are above alpha. `p < 0.001` is taken as 0.001.
    """
    tested = [(word, finding, float(p)) for word, finding, p in _TESTED.findall(text)]
    fallen = []
    for decided, other in (("supported", "not supported"), ("not supported", "supported")):
        corrected = holm([1 - p if word == other else p for word, _, p in tested])
        fallen += [
            f"{finding} (corrected p = {p:.3f})"
            for (word, finding, _), p in zip(tested, corrected, strict=True)
            if word == decided and p >= ALPHA
        ]
    if not tested:
        return ""
    if not fallen:
        return " Holm's correction of the p-values changes no verdict."
    return f" With Holm's correction these would be inconclusive: {'; '.join(fallen)}."


def _render_outcomes(report: dict) -> str:
    """Lists the runs that did not finish, without error texts, as these can contain local paths."""
    lines = [
        f"`{row['arm']}` seed {row['seed']} {describe_outcome(row)}"
        for row in report["runs_not_finished"]
    ]
    return f"Runs that did not finish: {'; '.join(lines)}." if lines else ""


def main(arguments: Sequence[str] | None = None) -> int:
    """Writes the files atomically, or checks that they are up to date; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m lbkeras.replication.results")
    parser.add_argument("--results", default="results", help="the folder of kept replications")
    parser.add_argument("--output", type=Path, default="RESULTS.md", help="the file to write")
    parser.add_argument(
        "--check", action="store_true", help="fail if a file is out of date, instead of writing it"
    )
    options = parser.parse_args(arguments)
    try:
        sections = _sections(options.results)
        texts = {options.output: _render(sections)}
        configs = options.output.parent / "configs/papers"
        if configs.is_dir():
            texts[configs / "measured.json"] = _render_measured(sections)
            docs = options.output.parent / "docs"
            if docs.is_dir():
                said = [each.claims for each in sections.values() if each.claims]
                texts[docs / "proof.md"] = proof.render_proof(configs, said)
        for path, text in texts.items():
            if options.check:
                _check(path, text, options.results)
            else:
                files.write_atomically(path, text.encode())
    except UserError as error:
        print(f"lbkeras: error: {error}", file=sys.stderr)
        return 2
    return 0


def _check(path: Path, expected: str, results: str) -> None:
    received = path.read_text(encoding="utf-8") if path.exists() else ""
    if received != expected:
        raise UserError(
            f"{path}: expected the text that `python -m lbkeras.replication.results` renders from "
            f"{results}, received another; run it without --check"
        )


if __name__ == "__main__":
    sys.exit(main())
