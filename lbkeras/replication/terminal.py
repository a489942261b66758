"""A report as aligned plain text."""

from typing import Any

from lbkeras.derived import SPENT
from lbkeras.replication.formats import (
    describe_outcome,
    format_count,
    format_metric,
    format_paper,
    format_ratio,
    format_seconds,
    label_of,
    papers_numbers,
    printable,
    unit_of,
    with_texts,
)
from lbkeras.replication.verdicts import VERDICTS


def format_table(report: dict[str, Any]) -> str:
    """The report as aligned plain text for a terminal: arms, then claims with their verdicts.

    Args:
        report: what `build_report` returns.
    """
    report = with_texts(report, printable)
    metric = report["metric"]
    of_paper, baseline = papers_numbers(report), report["baseline"]
    header = ["arm", "n", f"{label_of(metric)}{unit_of(metric)}", "updates", "", "time, s", ""]
    header += [f"paper{unit_of(metric)}", "paper upd"] if of_paper else []
    rows = [
        [
            name if len(name) <= 28 else name[:27] + "…", str(arm["metric"]["n"]),
            format_metric(arm["metric"], metric, unit=False), format_count(arm["updates"]),
            "" if name == baseline else format_ratio(arm["updates_ratio"], "fewer"),
            format_seconds(arm["seconds"]),
            "" if name == baseline else format_ratio(arm["seconds_ratio"], "less"),
            *(format_paper(arm["paper"], key) for key in of_paper),
        ]
        for name, arm in report["arms"].items()
    ]  # fmt: skip
    widths = [max(map(len, column)) for column in zip(header, *rows, strict=True)]
    lines = [str(report["title"] or "")] if report["title"] else []
    for row in [header, ["-" * width for width in widths], *rows]:
        cells = [row[0].ljust(widths[0])]
        cells += [cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True)]
        lines.append("  ".join(cells).rstrip())
    lines.append(f"mean ± standard deviation over n finished seeds; ratios to {baseline}")
    lines += _targets(report)
    for row in report["runs_not_finished"]:
        lines.append(f"{row['arm']} seed {row['seed']}: {describe_outcome(row)}")
    if report["claims"]:
        lines += ["", VERDICTS]
    for claim in report["claims"]:
        lines += ["", f"{claim['result']['verdict'].upper()}: {claim['statement']}"]
        lines.append(f"    {claim['result']['reason']}")
    return "\n".join([*lines, *(f"note: {note}" for note in report["notes"])]) + "\n"


def _targets(report: dict[str, Any]) -> list[str]:
    """For each target a line with what each arm spent."""
    lines = []
    for target in report.get("targets") or ():
        _, what = label_of(f"updates_to_{target}").split(" to ", 1)
        lines += ["", f"until a {what}:"]
        for name, arm in report["arms"].items():
            texts = [
                f"{format_metric(arm['targets'][target][spent], f'{spent}_to_{target}')} {spent}"
                for spent in SPENT
            ]
            summary = arm["targets"][target]["updates"]
            all_reached = summary["reached"] == summary["n"]
            lines.append(f"  {name}: {', '.join(texts) if all_reached else texts[0]}")
    return lines
