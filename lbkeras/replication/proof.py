"""docs/proof.md: each claim of each paper's config, and what the kept results say of it."""

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
# The data set that no machine of ours can train on; each variant of it is tried for a moment.
TRIED = "imagenet2012"

# A claim in a section that 0.1.0 rendered, which may lack the column of the paper's values.
_CLAIM = re.compile(r"^\| (.+?) \| \*\*(.+?)\*\* \| (.+?) \|(?: (.+?) \|)? (.+?) \| .+ \|$", re.M)
_SOURCE = re.compile(r" \([^()]*(?:\([^()]*\)[^()]*)*\[\w\??\]\)$")
_CONFIG = re.compile(r"^- config: `(?:.*/)?(\w+)\.py:(\w+)`$", re.M)
_HARDWARE = re.compile(r"^- hardware: (?:.*, )?(.+?) \(\d+ runs?\)$", re.M)
_INTRODUCTION = """# Table of proof

Each claim of each paper's config, what the paper has, what we measured, and what the seeds say.
Rendered by `python -m lbkeras.replication.results` from `results/` and the configs; do not edit it.
"""
_HOW_TO_READ = f"""\
A claim counts once for each replication of it, and once for each variant of its config that was
not run.

- *paper*: its values of the two arms that the claim compares (arm; baseline), mostly with other
  data and another network.
- *ours*: the difference of the two means, or how many times fewer updates, with its 90 % interval;
  means, spreads, dates and commands are in the [results](../RESULTS.md), to which each run links.
- *verdict*: {VERDICTS} Corrected for
  the number of claims that are decided together.
- *{DRY_RUN_ONLY}*: an ImageNet recipe, which no machine of ours can train. Its plan, its order of
  the data and its batch sizes were tried for a moment: it starts, and no accuracy is shown.
- *{NOT_RUN}*: the config is tested, and nothing else."""


@dataclasses.dataclass(frozen=True)
class Row:
    """A claim at one place: measured in a folder of results, or a variant without any.

    Attributes:
        statement: the claim.
        data: the variant, or what the folder's title says of it.
        arm: the arm it is about; empty where only a text is left.
        paper: the paper's values of its arm and baseline.
        ours: the effect with its interval.
        n: how many seeds, in words.
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
    """What a folder of results says of the claims of a config's variant.

    Attributes:
        config: the stem of the config's file.
        variant: its variant.
        heading: of the folder's section in RESULTS.md, without `## `.
        place: `CPU`, or the accelerators' names.
        gone: whether the records of the runs are gone.
        rows: one for each claim.
    """

    config: str
    variant: str
    heading: str
    place: str
    gone: bool
    rows: tuple[Row, ...]


def of_report(report: dict[str, Any], heading: str) -> Measured | None:
    """What a report says of its claims; None: it names no config with a variant, or no claim.

    Args:
        report: what `markdown.as_markdown` returns of a report.
        heading: of its section, without `## `.
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
    """The same of a section whose records are gone."""
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
    """docs/proof.md: a summary, then for each config a table of its claims.

    Args:
        papers: the folder of the configs.
        measured: what the folders of results say.
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
    """A config: what its variants claim, and what was measured of them."""

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
        lines = [f"arXiv {self.paper['arxiv']}; config {config}."]
        if self.measured:
            lines.append(f"Run: {'; '.join(map(_describe_run, self.measured))}.")
        for word, variants in self.without_run.items():
            if variants:
                lines.append(f"{word.capitalize()}: {', '.join(variants)}.")
        header = ["claim", "data", "paper", "ours", "n", "verdict"]
        return f"## {self.heading}\n\n{' '.join(lines)}\n\n{markdown_table(header, self._cells())}"

    def _cells(self) -> list[list[str]]:
        """The rows by claim; a claim that was never run has one for all of its variants."""
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
    """The rows with their arms; of a text it is that of the config's claim of those words."""
    arms: dict[str, list[str]] = {}
    for claim in claims:
        arms.setdefault(claim["statement"], []).append(claim["arm"])
    return [
        row if row.arm else dataclasses.replace(row, arm=(arms.get(row.statement) or [""]).pop(0))
        for row in measured.rows
    ]


def _not_run(claim: dict[str, Any], variant: str, verdict: str) -> Row:
    """The row of a config's claim."""
    claim = Claim.from_dict(claim).to_dict()
    paper = format_claimed(claim)
    return Row(claim["statement"], variant, claim["arm"], paper, NONE, NONE, verdict)


def _describe_run(measured: Measured) -> str:
    name = _data(measured.heading, measured.variant)
    gone = ", its records gone" if measured.gone else ""
    return f"[{name}](../RESULTS.md#{_anchor(measured.heading)}) ({measured.place}{gone})"


def _data(heading: str, variant: str) -> str:
    """What a title has in brackets at its end, the variant and how it was run; else the variant."""
    said = re.search(r"\(([^()]*)\)$", heading)
    return said[1] if said and said[1].startswith(variant) else variant


def _anchor(heading: str) -> str:
    """The place of a heading in its page, as forges and the documentation's site call it."""
    return re.sub(r"[^\w -]", "", heading).lower().replace(" ", "-")
