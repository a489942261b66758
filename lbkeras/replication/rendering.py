"""A report's data as Markdown and as a terminal table; no number is computed here but units."""

import re
import unicodedata
from collections.abc import Callable, Sequence
from typing import Any

from lbkeras.replication.claims import TAGS
from lbkeras.replication.verdicts import TEST_STATED

NONE = "–"


def render_report(report: dict[str, Any], pictures: Sequence[str] = ()) -> str:
    """report.md: headline, arms, claims, pictures, how it was run.

    Args:
        report: what `build_report` returns.
        pictures: paths of the pictures relative to report.md.
    """
    report = as_markdown(report)
    blocks = [
        f"# {report['title'] or 'Replication'}",
        render_paper(report),
        "\n".join(f"- {sentence}" for sentence in headline(report)),
        "## Arms",
        render_arms(report),
        "## Claims",
        render_claims(report),
        *(["## Pictures"] if pictures else []),
        *(f"![{_caption(name)}]({name})" for name in pictures),
        "## How it was run",
        render_circumstances(report),
        *_render_not_finished(report),
    ]
    return "\n\n".join(block for block in blocks if block) + "\n"


def as_markdown(report: dict[str, Any]) -> dict[str, Any]:
    """The report with texts that mean themselves in Markdown: no HTML, link, picture or new line.

    A folder may come from somebody else.
    """

    def literal(text):
        text = re.sub(r"<(?=[A-Za-z/!?])", "&lt;", _printable(text))  # p < 0.05 stays
        return text.replace("](", "]\\(").replace("|", "∣")

    escaped = _with_texts(report, literal)
    for key in ("command", "config"):  # stand in code
        if report.get(key) is not None:
            escaped[key] = _printable(str(report[key])).replace("`", "'")
    return escaped


def _with_texts(data: Any, change: Callable[[str], str]) -> Any:
    """Nested data with `change` of every text in it, keys too."""
    if isinstance(data, str):
        return change(data)
    if isinstance(data, dict):
        return {_with_texts(k, change): _with_texts(v, change) for k, v in data.items()}
    if isinstance(data, list | tuple):
        return [_with_texts(each, change) for each in data]
    return data


def _printable(text: str) -> str:
    """White space as spaces, and no control character that a terminal would obey."""
    return "".join(
        " " if c.isspace() else "�" if unicodedata.category(c) in ("Cc", "Cf") else c for c in text
    )


def render_paper(report: dict[str, Any]) -> str:
    """The paper's citation with its arXiv id."""
    paper = report["paper"] or {}
    arxiv = f"arXiv {paper['arxiv']}" if paper.get("arxiv") else ""
    title = f"“{paper['title']}”" if paper.get("title") else ""
    parts = [part for part in (paper.get("citation"), title, arxiv) if part]
    return f"Paper: {', '.join(parts)}." if parts else ""


def headline(report: dict[str, Any]) -> list[str]:
    """What came out, in plain sentences: one an arm, then the verdicts."""
    metric, arms, baseline = report["metric"], report["arms"], report["baseline"]
    sentences = []
    for name, arm in arms.items():
        if not arm["metric"]["n"]:
            sentences.append(f"`{name}` has no finished run ({describe_runs(arm)}).")
            continue
        text = f"`{name}`: {metric} {format_metric(arm['metric'], metric)} (n={arm['metric']['n']})"
        text += f" after {format_count(arm['updates'])} updates"
        text += f" and {format_seconds(arm['seconds'])} s of training"
        if name != baseline and arm["updates_ratio"]:
            text += f"; {_compare(arm['updates_ratio'], 'fewer', 'updates', baseline)}"
        if name != baseline and arm["seconds_ratio"]:
            text += f", {_compare(arm['seconds_ratio'], 'less', 'time', baseline)}"
        if arm["seeds"]["diverged"]:
            text += f"; {len(arm['seeds']['diverged'])} more diverged"
        sentences.append(f"{text}.")
    if report["claims"]:
        counts: dict[str, int] = {}
        for claim in report["claims"]:
            word = claim["result"]["verdict"]
            counts[word] = counts.get(word, 0) + 1
        listed = ", ".join(f"{count} {word}" for word, count in counts.items())
        sentences.append(f"Claims: {listed} (of {len(report['claims'])}).")
    return sentences


def render_arms(report: dict[str, Any]) -> str:
    """A Markdown table of the arms, the paper's numbers in columns apart from ours."""
    metric = report["metric"]
    header = [
        "arm", "n", f"ours: {metric}{_unit(metric)}, mean ± sd", "min to max", "ours: updates",
        "fewer updates", "ours: wall clock, s", "less time", "batch size", "learning rate",
        f"paper: accuracy{_unit(metric)}", "paper: updates",
    ]  # fmt: skip
    rows = []
    for name, arm in report["arms"].items():
        summary = arm["metric"]
        spread = NONE
        if summary["n"] > 1:
            low, high = (_number(summary[key], metric) for key in ("min", "max"))
            spread = f"{low} to {high}"
        rows.append([
            f"`{name}`", describe_runs(arm), format_metric(summary, metric, unit=False), spread,
            format_count(arm["updates"]), format_ratio(arm["updates_ratio"]),
            format_seconds(arm["seconds"]), format_ratio(arm["seconds_ratio"]),
            _from_to(arm["batch_size"], "{:,.0f}"), _from_to(arm["learning_rate"], "{:.4g}"),
            format_paper(arm["paper"], "accuracy", tag=True),
            format_paper(arm["paper"], "updates", tag=True),
        ])  # fmt: skip
    described = [
        f"- `{name}`: {arm['description']}"
        for name, arm in report["arms"].items()
        if arm["description"]
    ]
    notes = [
        f"- paper, `{name}`: {arm['paper']['note']}"
        for name, arm in report["arms"].items()
        if arm["paper"].get("note")
    ]
    legend = (
        f"Ours: mean ± standard deviation over n finished seeds of the final {metric}; wall clock "
        "is training time, evaluation left out; ratios are the first arm's mean over this arm's."
    )
    tags = _explain_tags(arm["paper"] for arm in report["arms"].values())
    setting = (report["paper"] or {}).get("setting")
    if tags and setting:
        tags += f" They are for {setting}: compare orderings and ratios, not accuracies."
    blocks = [_markdown_table(header, rows), " ".join(filter(None, [legend, tags]))]
    blocks += _render_measured(report)
    return "\n\n".join([*blocks, *(["\n".join(described + notes)] if described or notes else [])])


def _render_measured(report: dict[str, Any]) -> list[str]:
    """A Markdown table of what callbacks measured at the end of the runs, if they did."""
    arms = report["arms"].items()
    names = list(dict.fromkeys(name for _, arm in arms for name in arm.get("measured", {})))
    if not names:
        return []
    rows = []
    for name, arm in arms:
        summaries = [arm.get("measured", {}).get(each, {"n": 0}) for each in names]
        cells = [
            format_metric(summary, each) + _lower_bounds(summary)
            for summary, each in zip(summaries, names, strict=True)
        ]
        rows.append([f"`{name}`", *cells])
    table = _markdown_table(["arm", *(f"ours: {each}" for each in names)], rows)
    return [f"Measured at the end of each run, mean ± standard deviation:\n\n{table}"]


def _lower_bounds(summary: dict[str, Any]) -> str:
    bounds = summary.get("lower_bounds")
    return f" ({bounds} of {summary['n']} are lower bounds)" if bounds else ""


def render_claims(report: dict[str, Any]) -> str:
    """A Markdown table of the claims with verdict, effect and reason, and the test stated."""
    if not report["claims"]:
        return "The config makes no claims."
    rows = []
    for claim in report["claims"]:
        result = claim["result"]
        source = f"{claim.get('source', '')} [{claim['tag']}]".strip()
        rows.append([
            f"{claim['statement']} ({source})", f"**{result['verdict']}**",
            describe_effect(claim), _claimed(claim), _describe_n(result["n"]),
            result["reason"],
        ])  # fmt: skip
    header = [
        "claim",
        "verdict",
        "effect, ours",
        "paper (arm; baseline)",
        "n (arm and baseline)",
        "reason",
    ]
    return f"{_markdown_table(header, rows)}\n\nTest: {TEST_STATED}"


def _describe_n(n: dict[str, int]) -> str:
    """`5 pairs`; `5 and 4, 4 pairs` where seeds of an arm are left out; `5 and 4` without pairs."""
    both = f"{n['arm']} and {n['baseline']}"
    if not n["pairs"]:
        return both
    pairs = f"{n['pairs']} pairs"
    return pairs if n["arm"] == n["baseline"] == n["pairs"] else f"{both}, {pairs}"


def describe_effect(claim: dict[str, Any]) -> str:
    """The effect with its interval, in points for accuracies: `-0.10 points (-0.60 to 0.40)`."""
    result, metric = claim["result"], claim["metric"]
    effect, interval = result["effect"], result["confidence_interval"]
    if effect is None:
        return NONE
    if claim["test"] == "ratio_at_least":
        text, form = f"{effect:.2f}x {metric}", (lambda value: f"{value:.2f}")
    elif _is_percent(metric):
        text, form = f"{_signed_points(effect)} points", _signed_points
    else:
        text, form = f"{effect:+.4g}", (lambda value: f"{value:+.4g}")
    if interval and interval[0] != interval[1]:
        text += f" ({form(interval[0])} to {form(interval[1])})"
    return text


def _signed_points(value: float) -> str:
    return f"{round(100 * value, 2) + 0.0:+.2f}"  # never -0.00


def render_circumstances(report: dict[str, Any]) -> str:
    """Command, data, date, seeds, hardware and versions as a list."""
    seeds = ", ".join(map(str, report["seeds"]))
    lines = [
        f"- command: `{report['command'] or NONE}`",
        f"- config: `{report['config'] or NONE}`",
        f"- data: {report['dataset'] or NONE}{_data_note(report)}",
        f"- date: {describe_date(report['date'])}",
        f"- seeds: {seeds}",
        *(f"- hardware: {line}" for line in map(describe_hardware, report["hardware"])),
        *(f"- versions: {line}" for line in map(describe_versions, report["versions"])),
        *(f"- note: {note}" for note in report["notes"]),
    ]
    return "\n".join(lines)


def describe_date(date: dict[str, Any]) -> str:
    """The first start and the last end, to the day."""
    days = [str(date[key])[:10] for key in ("started", "finished") if date[key]]
    return " to ".join(dict.fromkeys(days)) or NONE


def describe_hardware(hardware: dict[str, Any]) -> str:
    """One machine in a line."""
    accelerators = hardware.get("accelerators") or []
    names = ", ".join(map(str, accelerators)) or "no accelerator"
    parts = [
        " ".join(str(hardware[key]) for key in ("machine", "processor") if hardware.get(key)),
        f"{hardware['cpu_count']} CPUs" if hardware.get("cpu_count") else "",
        f"{hardware['memory_gb']:g} GB memory" if hardware.get("memory_gb") else "",
        names,
    ]
    return f"{', '.join(part for part in parts if part)} ({_count_runs(hardware['runs'])})"


def describe_versions(versions: dict[str, Any]) -> str:
    """One set of versions in a line."""
    listed = ", ".join(f"{name} {value}" for name, value in versions.items() if name != "runs")
    return f"{listed} ({_count_runs(versions['runs'])})"


def describe_runs(arm: dict[str, Any]) -> str:
    """`n=3`, with the seeds that did not get there: `n=2, 1 diverged`."""
    seeds = arm["seeds"]
    others = [
        f"{len(seeds[key])} {key.replace('_', ' ')}"
        for key in ("diverged", "unfinished", "not_run")
        if seeds[key]
    ]
    return ", ".join([f"n={len(seeds['finished'])}", *others])


def format_table(report: dict[str, Any]) -> str:
    """The arms aligned for a terminal, then each claim with its verdict in plain words."""
    report = _with_texts(report, _printable)
    metric = report["metric"]
    header = ["arm", "n", f"{metric}{_unit(metric)}", "updates", "fewer", "wall clock s", "faster",
              "paper acc.%", "paper upd."]  # fmt: skip
    rows = [
        [
            name if len(name) <= 28 else name[:27] + "…", str(arm["metric"]["n"]),
            format_metric(arm["metric"], metric, unit=False), format_count(arm["updates"]),
            format_ratio(arm["updates_ratio"]), format_seconds(arm["seconds"]),
            format_ratio(arm["seconds_ratio"]), format_paper(arm["paper"], "accuracy"),
            format_paper(arm["paper"], "updates"),
        ]
        for name, arm in report["arms"].items()
    ]  # fmt: skip
    widths = [max(map(len, column)) for column in zip(header, *rows, strict=True)]
    lines = [str(report["title"] or "")] if report["title"] else []
    for row in [header, ["-" * width for width in widths], *rows]:
        cells = [row[0].ljust(widths[0])]
        cells += [cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True)]
        lines.append("  ".join(cells).rstrip())
    lines.append("mean ± standard deviation over n finished seeds")
    for row in report["runs_not_finished"]:
        lines.append(f"{row['arm']} seed {row['seed']}: {describe_outcome(row)}")
    for claim in report["claims"]:
        lines += ["", f"{claim['result']['verdict'].upper()}: {claim['statement']}"]
        lines.append(f"    {claim['result']['reason']}")
    return "\n".join([*lines, *(f"note: {note}" for note in report["notes"])]) + "\n"


def describe_outcome(row: dict[str, Any]) -> str:
    """`diverged after 3 epochs`, `not run`."""
    if row["status"] == "not run":
        return "not run"
    return f"{row['status']} after {row['epochs']} {'epoch' if row['epochs'] == 1 else 'epochs'}"


def format_metric(summary: dict[str, Any], metric: str, unit: bool = True) -> str:
    """`94.30 ± 0.12 %`; a single run has no spread: `94.30 (n=1)`."""
    if not summary["n"]:
        return NONE
    mean = _number(summary["mean"], metric)
    percent = " %" if unit and _is_percent(metric) else ""
    if summary["standard_deviation"] is None:
        return f"{mean}{percent} (n=1)" if not unit else f"{mean}{percent}"
    return f"{mean} ± {_number(summary['standard_deviation'], metric)}{percent}"


def format_count(summary: dict[str, Any]) -> str:
    """`1,234`, with the spread if seeds differ."""
    if not summary["n"]:
        return NONE
    text = f"{summary['mean']:,.0f}"
    deviation = summary["standard_deviation"]
    return f"{text} ± {deviation:,.0f}" if deviation else text


def format_seconds(summary: dict[str, Any]) -> str:
    """`123.4 ± 1.2`."""
    if not summary["n"]:
        return NONE
    digits = 0 if summary["mean"] >= 1000 else 1 if summary["mean"] >= 10 else 2
    text = f"{summary['mean']:,.{digits}f}"
    deviation = summary["standard_deviation"]
    return text if deviation is None else f"{text} ± {deviation:,.{digits}f}"


def format_ratio(ratio: float | None) -> str:
    """`2.8x`, or a dash."""
    return NONE if ratio is None else f"{ratio:.2f}x"


def format_paper(paper: dict[str, Any], key: str, tag: bool = False) -> str:
    """The paper's number as it stands there, with its tag in brackets if asked for."""
    value = paper.get(key)
    if value is None:
        return NONE
    number = isinstance(value, (int, float))
    text = str(value)
    if number:
        text = f"{100 * value:.2f}" if key == "accuracy" else f"{value:,.0f}"
    label = paper.get(f"{key}_tag", paper.get("tag"))
    return f"{text} [{label}]" if tag and label else text


def _claimed(claim: dict[str, Any]) -> str:
    """The paper's own values of the two arms."""
    paper, metric = claim.get("paper") or {}, claim["metric"]
    texts = [
        f"{_number(value, metric)}{_unit(metric)}" if isinstance(value, (int, float)) else value
        for value in (paper.get("arm"), paper.get("baseline"))
    ]
    return "; ".join(NONE if text is None else str(text) for text in texts) if paper else NONE


def _render_not_finished(report: dict[str, Any]) -> list[str]:
    if not report["runs_not_finished"]:
        return []
    lines = []
    for row in report["runs_not_finished"]:
        error = f": {' '.join(str(row['error']).split())}" if row["error"] else ""
        lines.append(f"- `{row['arm']}` seed {row['seed']}: {describe_outcome(row)}{error}")
    return ["## Runs that did not finish", "\n".join(lines)]


def _explain_tags(papers) -> str:
    keys = ("tag", "accuracy_tag", "updates_tag")
    used = {str(paper[key]) for paper in papers for key in keys if paper.get(key)}
    known = [f"[{tag}] {TAGS[tag]}" for tag in sorted(used) if tag in TAGS]
    return f"The paper's numbers: {'; '.join(known)}." if known else ""


def _data_note(report: dict[str, Any]) -> str:
    description = report.get("dataset_description")
    return f": {description}" if description else ""


def _caption(name: str) -> str:
    return name.rsplit("/", 1)[-1].removesuffix(".png").replace("_", " ")


def _compare(ratio: float, less: str, what: str, baseline: str) -> str:
    if ratio >= 1:
        return f"{ratio:.2f}x {less} {what} than `{baseline}`"
    return f"{1 / ratio:.2f}x the {what} of `{baseline}`"


def _from_to(ends: dict[str, Any], form: str) -> str:
    texts = [form.format(ends[key]) for key in ("first", "last") if ends[key] is not None]
    return " to ".join(dict.fromkeys(texts)) or NONE


def _is_percent(metric: str) -> bool:
    return metric.endswith("accuracy")


def _unit(metric: str) -> str:
    return " %" if _is_percent(metric) else ""


def _number(value: float, metric: str) -> str:
    if _is_percent(metric):
        return f"{100 * value:.2f}"
    return f"{value:,.0f}" if value == int(value) else f"{value:.4g}"


def _count_runs(count: int) -> str:
    return "1 run" if count == 1 else f"{count} runs"


def _markdown_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(
        f"| {' | '.join(str(cell).replace('|', '∣') for cell in line)} |" for line in lines
    )
