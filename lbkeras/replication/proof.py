"""Renders docs/proof.md: each claim of each paper's config, and what the kept results say."""

import dataclasses
import importlib.util
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from lbkeras.replication.claims import Claim
from lbkeras.replication.formats import (
    NONE,
    describe_effect,
    describe_n,
    format_claimed,
    markdown_table,
)
from lbkeras.replication.reasons import VERDICTS

DRY_RUN_ONLY, NOT_RUN = "dry run only", "not run"
WORDS = ("supported", "not supported", "inconclusive", DRY_RUN_ONLY, NOT_RUN)
# The data set that none of our machines can train on; its variants are only started briefly.
TRIED = "imagenet2012"

# A claim in a section that 0.1.0 rendered; the column of the paper's values is optional.
_CLAIM = re.compile(r"^\| (.+?) \| \*\*(.+?)\*\* \| (.+?) \|(?: (.+?) \|)? (.+?) \| .+ \|$", re.M)
_SOURCE = re.compile(r" \([^()]*(?:\([^()]*\)[^()]*)*\[\w\??\]\)$")
_CONFIG = re.compile(r"^- config: `(?:.*/)?(\w+)\.py:(\w+)`$", re.M)
_HARDWARE = re.compile(r"^- hardware: (?:.*, )?(.+?) \(\d+ runs?\)$", re.M)
_INTRODUCTION = """# Table of proof

Every claim of every paper's config: the paper's numbers, what we measured, and the verdict.
Rendered by `python -m lbkeras.replication.results` from `results/` and the configs; do not edit.
"""
_HOW_TO_READ = f"""\
A claim is counted once per replication, and once per variant of its config that was not run.

- *paper*: the paper's values for the two arms that the claim compares (arm; baseline), mostly on
  other data and with another network.
- *ours*: the difference between the two means, or the ratio baseline / arm, with its 90 % interval.
  Means, spreads, dates and commands are in the [results](../RESULTS.md), to which each run links.
- *verdict*: {VERDICTS} The verdicts
  are corrected for the number of claims that are decided together.
- *{DRY_RUN_ONLY}*: an ImageNet recipe, which none of our machines can train. It was started briefly
  to check its plan, the order of its data and its batch sizes; this says nothing about accuracy.
- *{NOT_RUN}*: only the config itself is tested."""


@dataclasses.dataclass(frozen=True)
class Row:
    """One claim, as measured in a folder of results or as stated for a variant without results.

    Attributes:
        statement: the claim.
        data: the variant, or how the folder's title describes it.
        arm: the arm that the claim is about; empty if only the old text is left.
        paper: the paper's values for the arm and the baseline.
        ours: the effect with its interval.
        n: the number of seeds, in words.
        verdict: one of `WORDS`.
    """

    statement: str
    data: str
    arm: str
    paper: str
    ours: str
    n: str
    verdict: str


@dataclasses.dataclass(frozen=True)
class Measured:
    """What a folder of results says about the claims of a config's variant.

    Attributes:
        config: the stem of the config's file.
        variant: the config's variant.
        heading: the heading of the folder's section in RESULTS.md, without `## `.
        place: `CPU`, or the accelerators' names.
        gone: whether the records of the runs are gone.
        rows: one row per claim.
    """

    config: str
    variant: str
    heading: str
    place: str
    gone: bool
    rows: tuple[Row, ...]


def of_report(report: dict[str, Any], heading: str) -> Measured | None:
    """Returns what a report says about its claims; None without a config, variant or claim.

    Args:
        report: what `markdown.as_markdown` returns for a report.
        heading: the heading of its section, without `## `.
    """
    if not (report["config"] and report["variant"] and report["claims"]):
        return None
    data = _data(heading, report["variant"])
    rows = [
        Row(
            claim["statement"], data, claim["arm"], format_claimed(claim), describe_effect(claim),
            describe_n(claim["result"]["n"]), claim["result"]["verdict"],
        )
        for claim in report["claims"]
    ]  # fmt: skip
    found = [name for each in report["hardware"] for name in each.get("accelerators") or ["CPU"]]
    place = ", ".join(dict.fromkeys(found)) or NONE
    stem = Path(report["config"].split(":")[0]).stem
    return Measured(stem, report["variant"], heading, place, False, tuple(rows))


def of_section(text: str, heading: str) -> Measured | None:
    """Returns the same for a section whose records are gone."""
    config, claims = _CONFIG.search(text), _CLAIM.findall(text)
    if not (config and claims):
        return None
    data = _data(heading, config[2])
    rows = [
        Row(_SOURCE.sub("", claim), data, "", paper or NONE, ours, n, verdict)
        for claim, verdict, ours, paper, n in claims
    ]
    names = dict.fromkeys(_HARDWARE.findall(text))
    place = ", ".join("CPU" if name == "no accelerator" else name for name in names) or NONE
    return Measured(config[1], config[2], heading, place, True, tuple(rows))


def render_proof(papers: Path, measured: Iterable[Measured]) -> str:
    """Returns the text of docs/proof.md: a summary, then a table of claims for each config.

    Args:
        papers: the folder of the configs.
        measured: what each folder of results says about its claims.
    """
    found: dict[str, list[Measured]] = {}
    for each in measured:
        found.setdefault(each.config, []).append(each)
    systems = [_System(path, found.get(path.stem, [])) for path in sorted(papers.glob("[!_]*.py"))]
    total = sum((each.count for each in systems), Counter())
    listed = ", ".join(f"{total[word]} {word}" for word in WORDS)
    said = f"{total.total()} claims of {len(systems)} configs: {listed}."
    summary = markdown_table(
        ["system", "run on", *WORDS],
        [
            [each.link, each.run_on, *(str(each.count[w] or NONE) for w in WORDS)]
            for each in systems
        ],
    )
    sections = [each.render() for each in systems]
    return "\n\n".join([_INTRODUCTION + f"\n**{said}**", summary, _HOW_TO_READ, *sections]) + "\n"


class _System:
    """A config: the claims of its variants, and what was measured."""

    def __init__(self, path: Path, measured: list[Measured]):
        spec = importlib.util.spec_from_file_location(path.stem, path)
        module = importlib.util.module_from_spec(spec)  # type: ignore
        spec.loader.exec_module(module)  # type: ignore
        self.name, self.paper, self.measured = path.stem, module.PAPER, measured
        self.heading = f"{self.paper['citation']}: {self.paper['title']}"
        variants = {variant: module.get_claims(variant) for variant in module.get_config.variants}
        self.rows = [
            row for each in measured for row in _with_arms(each, variants.get(each.variant, ()))
        ]
        self.without_run: dict[str, list[str]] = {DRY_RUN_ONLY: [], NOT_RUN: []}
        for variant, claims in variants.items():
            known = {r.statement for each in measured if each.variant == variant for r in each.rows}
            tried = module.get_config(variant)["data"]["name"] == TRIED
            word = DRY_RUN_ONLY if tried else NOT_RUN
            new = [_not_run(c, variant, word) for c in claims if c["statement"] not in known]
            if new and not known:
                self.without_run[word].append(variant)
            self.rows += new
        self.count = Counter(row.verdict for row in self.rows)

    @property
    def link(self) -> str:
        return f"[{self.paper['citation']}](#{_anchor(self.heading)})"

    @property
    def run_on(self) -> str:
        return ", ".join(dict.fromkeys(each.variant for each in self.measured)) or NONE

    def render(self) -> str:
        config = f"[`{self.name}`](../configs/papers/{self.name}.py)"
        lines = [f"arXiv:{self.paper['arxiv']}; config {config}."]
        if self.measured:
            lines.append(f"Run: {'; '.join(map(_describe_run, self.measured))}.")
        for word, variants in self.without_run.items():
            if variants:
                lines.append(f"{word.capitalize()}: {', '.join(variants)}.")
        header = ["claim", "data", "paper", "ours", "n", "verdict"]
        return f"## {self.heading}\n\n{' '.join(lines)}\n\n{markdown_table(header, self._cells())}"

    def _cells(self) -> list[list[str]]:
        """Returns the rows, grouped by claim; a claim that was never run has a single row."""
        cells, times = [], Counter((row.statement, row.data) for row in self.rows)
        shared = {statement for (statement, _), number in times.items() if number > 1}
        claims: dict[str, list[Row]] = {}
        for row in self.rows:
            arm = f" (`{row.arm}`)" if row.statement in shared else ""
            claims.setdefault(row.statement + arm, []).append(row)
        for statement, rows in claims.items():
            shown = [row for row in rows if row.verdict != NOT_RUN]
            if not shown:
                data = ", ".join(row.data for row in rows)
                shown = [dataclasses.replace(rows[0], data=data)]
            for i, row in enumerate(shown):
                first = "" if i else statement
                verdict = row.verdict if row.verdict in WORDS[3:] else f"**{row.verdict}**"
                cells.append([first, row.data, row.paper, row.ours, row.n, verdict])
        return cells


def _with_arms(measured: Measured, claims: Sequence[dict[str, Any]]) -> list[Row]:
    """Returns the rows with their arms; an old text's row takes it from the config's same claim."""
    arms: dict[str, list[str]] = {}
    for claim in claims:
        arms.setdefault(claim["statement"], []).append(claim["arm"])
    return [
        row if row.arm else dataclasses.replace(row, arm=(arms.get(row.statement) or [""]).pop(0))
        for row in measured.rows
    ]


def _not_run(claim: dict[str, Any], variant: str, verdict: str) -> Row:
    """Returns the row of a config's claim that has no results."""
    claim = Claim.from_dict(claim).to_dict()
    paper = format_claimed(claim)
    return Row(claim["statement"], variant, claim["arm"], paper, NONE, NONE, verdict)


def _describe_run(measured: Measured) -> str:
    name = _data(measured.heading, measured.variant)
    gone = ", its records gone" if measured.gone else ""
    return f"[{name}](../RESULTS.md#{_anchor(measured.heading)}) ({measured.place}{gone})"


def _data(heading: str, variant: str) -> str:
    """Returns the brackets' content at the end of a title if it starts with the variant.

    It is the variant and how it was run, such as "digits, mirrored". Otherwise the variant.
    """
    said = re.search(r"\(([^()]*)\)$", heading)
    return said[1] if said and said[1].startswith(variant) else variant


def _anchor(heading: str) -> str:
    """Returns a heading's anchor, as GitHub and the documentation's site make it."""
    return re.sub(r"[^\w -]", "", heading).lower().replace(" ", "-")
