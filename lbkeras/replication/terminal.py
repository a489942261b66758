"""Formats a report as aligned plain text."""

from typing import Any

from lbkeras.derived import SPENT, is_target
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
from lbkeras.replication.reasons import VERDICTS
from lbkeras.terminal_text import table, wrapped


def format_table(report: dict[str, Any], width: int | None = None) -> str:
    """Formats a report as aligned plain text for a terminal: arms, then claims with verdicts.

    Args:
        report: what `build_report` returns.
        width: the width to fit: a wider table is divided, longer sentences are wrapped. None:
            any width.
    """
    report = with_texts(report, printable)
    metric = report["metric"]
    of_paper, baseline = papers_numbers(report), report["baseline"]
    label, meant = f"{label_of(metric)}{unit_of(metric)}", []
    if is_target(metric):  # too long for a column
        spent, target = label.split(" to ", 1)
        label, meant = f"{spent} to target", [f"target: {target}"]
    header = ["arm", "n", label, "updates", "", "time, s", ""]
    header += [f"paper{unit_of(metric)}", "paper updates"] if of_paper else []
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
    dashes = ["-" * max(map(len, column)) for column in zip(header, *rows, strict=True)]
    title = [wrapped(str(report["title"]), width)] if report["title"] else []
    lines = [f"mean ± standard deviation over n finished seeds; ratios to {baseline}"]
    lines += [*meant, *_targets(report), *_reference(report)]
    for row in report["runs_not_finished"]:
        lines.append(f"{row['arm']} seed {row['seed']}: {describe_outcome(row)}")
    if report["claims"]:
        lines += ["", VERDICTS]
    for claim in report["claims"]:
        lines += ["", f"{claim['result']['verdict'].upper()}: {claim['statement']}"]
        lines.append(f"    {claim['result']['reason']}")
    if report["notes"]:
        lines += ["", *(f"note: {note}" for note in report["notes"])]
    below = [wrapped(line, width) for line in lines]
    return "\n".join([*title, table([header, dashes, *rows], width), *below]) + "\n"


def _reference(report: dict[str, Any]) -> list[str]:
    """Returns a line per arm that was run, with the reference's epochs and ours."""
    reference = report.get("reference") or {"points": {}}
    lines = []
    for arm, point in reference["points"].items():
        if point["n"]:
            ours = "" if point["mean"] is None else f"{point['mean']:.1f} epochs, "
            of = f"{point['epochs']:.1f}{' interpolated' if point['interpolated'] else ''}"
            mark = "SUSPICIOUS: " if point["suspicious"] else ""
            lines.append(f"  {mark}{arm}: {ours}reference {of}; {point['finding']}")
    return ["", f"reference: {reference['source']}", *lines] if lines else []


def _targets(report: dict[str, Any]) -> list[str]:
    """Returns a line per arm for each target, with what the arm spent until it reached it."""
    lines = []
    for target in report.get("targets") or ():
        _, what = label_of(f"updates_to_{target}").split(" to ", 1)
        lines += ["", f"until a {what}:"]
        for name, arm in report["arms"].items():
            summaries = arm["targets"][target]
            shown = {s: format_metric(summaries[s], f"{s}_to_{target}") for s in SPENT}
            if summaries["updates"]["mean"] is not None:
                text = ", ".join(f"{value} {spent}" for spent, value in shown.items())
            else:
                text = shown["updates"]
                text += " updates" if summaries["updates"]["median"] is not None else ""
            lines.append(f"  {name}: {text}")
    return lines
