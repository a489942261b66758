"""Extracts the measurements of each config and variant from the folders of results/.

`lbkeras configs` shows them.
"""

import re
from collections import Counter
from collections.abc import Iterable
from typing import Any

from lbkeras import metrics
from lbkeras.replication.formats import describe_date, describe_hardware

# Lines of a section that lbkeras 0.1.0 rendered, for replications whose records are gone.
_ARM = re.compile(
    r"^- `(\w+)`: (\w+) ([\d.]+)(?: ± ([\d.]+))?(?: %)? \(n=(\d+)\) after ([\d,]+)(?: ± [\d,]+)? "
    r"updates and ([\d,.]+)",
    re.M,
)
_PAPER = re.compile(r"^Paper: .*arXiv ([\d.]+)\.$", re.M)
_VARIANT = re.compile(r"^- config: `.*:(\w+)`$", re.M)
_HARDWARE = re.compile(r"^- hardware: (.+)$", re.M)
_DATE = re.compile(r"^- date: (.+)$", re.M)
_VERDICT = re.compile(r"^\| .+? \| \*\*([a-z ]+)\*\* \|", re.M)


def of_report(report: dict[str, Any]) -> dict[str, Any] | None:
    """Returns a report's measurements; None if it has no finished run, no paper or no variant.

    Args:
        report: what `build_report` returns.

    Returns:
        `arxiv` and `variant`; `date` and `hardware` in words; the number of finished `runs` and
        their total `seconds` of training; `claims`, the number of claims with each verdict; for the
        baseline (the first arm) its name as `arm`, its number of runs `n`, its mean `updates`, and
        `mean` and `standard_deviation` of `metric`.
    """
    arm = report["arms"][report["baseline"]]
    arxiv = (report["paper"] or {}).get("arxiv")
    if not (arxiv and report["variant"] and arm["metric"]["mean"] is not None):
        return None
    seconds = [each["seconds"] for each in report["arms"].values() if each["seconds"]["n"]]
    deviation = arm["metric"]["standard_deviation"]
    return dict(
        arxiv=arxiv,
        variant=report["variant"],
        date=describe_date(report["date"]),
        hardware=[_without_runs(describe_hardware(each)) for each in report["hardware"]],
        runs=sum(each["n"] for each in seconds),
        seconds=round(sum(sum(each["values"]) for each in seconds)),
        claims=_counted(claim["result"]["verdict"] for claim in report["claims"]),
        arm=report["baseline"],
        n=arm["metric"]["n"],
        updates=round(arm["updates"]["mean"]),
        metric=report["metric"],
        mean=round(arm["metric"]["mean"], 5),
        standard_deviation=None if deviation is None else round(deviation, 5),
    )


def of_section(text: str) -> dict[str, Any] | None:
    """Returns the same from a section's text; None if it is not the section of a replication."""
    arms, paper, variant = _ARM.findall(text), _PAPER.search(text), _VARIANT.search(text)
    if not (arms and paper and variant):
        return None
    name, metric, mean, deviation, n, updates, _ = arms[0]
    unit = 100 if metrics.of(metric).is_share else 1
    dates = _DATE.search(text)
    return dict(
        arxiv=paper[1],
        variant=variant[1],
        date=dates[1] if dates else "",
        hardware=[_without_runs(each) for each in _HARDWARE.findall(text)],
        runs=sum(int(each[4]) for each in arms),
        seconds=round(sum(int(each[4]) * _number(each[6]) for each in arms)),
        claims=_counted(_VERDICT.findall(text)),
        arm=name,
        n=int(n),
        updates=round(_number(updates)),
        metric=metric,
        mean=round(_number(mean) / unit, 5),
        standard_deviation=round(_number(deviation) / unit, 5) if deviation else None,
    )


def by_paper(measurements: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Groups measurements by paper (arXiv id) and variant; keeps those with the most runs.

    Args:
        measurements: the measurements of each folder of results, by the folder's name.
    """
    papers: dict[str, dict[str, Any]] = {}
    for folder, each in sorted(measurements.items(), key=lambda item: item[1]["runs"]):
        values = {key: value for key, value in each.items() if key not in ("arxiv", "variant")}
        papers.setdefault(each["arxiv"], {})[each["variant"]] = {"results": folder} | values
    return {paper: dict(sorted(papers[paper].items())) for paper in sorted(papers)}


def _counted(verdicts: Iterable[str]) -> dict[str, int]:
    return dict(sorted(Counter(verdicts).items(), reverse=True))


def _number(text: str) -> float:
    return float(text.replace(",", "").rstrip("."))


def _without_runs(hardware: str) -> str:
    return re.sub(r" \(\d+ runs?\)$", "", hardware)
