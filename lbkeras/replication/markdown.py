"""Renders a report as Markdown."""

import re
from collections.abc import Sequence
from typing import Any

from lbkeras.derived import SPENT, is_target
from lbkeras.metrics import PARAMETERS
from lbkeras.replication.claims import LETTERS, letter_of
from lbkeras.replication.formats import (
    NONE,
    describe_date,
    describe_effect,
    describe_hardware,
    describe_n,
    describe_outcome,
    describe_runs,
    describe_versions,
    format_claimed,
    format_count,
    format_metric,
    format_number,
    format_paper,
    format_ratio,
    format_seconds,
    label_of,
    markdown_table,
    papers_numbers,
    printable,
    unit_of,
    with_texts,
)
from lbkeras.replication.reasons import TARGETS_STATED, TEST_STATED, format_p

_PICTURES = (
    "Lines and points are means over an arm's finished seeds; bands and bars are ± one standard "
    "deviation. Thin lines are runs that did not finish; the line of a diverged run ends in a "
    "cross."
)


def render_report(report: dict[str, Any], pictures: Sequence[str] = ()) -> str:
    """Returns the text of report.md: headline, arms, claims, pictures, how it was run.

    Args:
        report: what `build_report` returns.
        pictures: paths of the pictures, relative to report.md.
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
        *(["## Pictures", _PICTURES] if pictures else []),
        *(f"![{_caption(name)}]({name})" for name in pictures),
        "## How it was run",
        render_circumstances(report),
        *_render_not_finished(report),
    ]
    return "\n\n".join(block for block in blocks if block) + "\n"


def as_markdown(report: dict[str, Any]) -> dict[str, Any]:
    """Escapes the texts of a report, so that Markdown shows them literally.

    They cannot add HTML, links, pictures or line breaks: the workdir can be from somebody else.
    """

    def literal(text):
        text = re.sub(r"<(?=[A-Za-z/!?])", "&lt;", printable(text))  # p < 0.05 stays
        return text.replace("](", "]\\(").replace("|", "∣")

    escaped = with_texts(report, literal)
    for key in ("command", "config"):  # rendered as code
        if report.get(key) is not None:
            escaped[key] = printable(str(report[key])).replace("`", "'")
    return escaped


def render_paper(report: dict[str, Any]) -> str:
    """Returns a line with the paper's citation, title and arXiv id; empty without any."""
    paper = report["paper"] or {}
    arxiv = f"arXiv:{paper['arxiv']}" if paper.get("arxiv") else ""
    title = f"“{paper['title']}”" if paper.get("title") else ""
    parts = [part for part in (paper.get("citation"), title, arxiv) if part]
    return f"Paper: {', '.join(parts)}." if parts else ""


def headline(report: dict[str, Any]) -> list[str]:
    """Returns the outcome in plain sentences: one per arm, then the number of each verdict."""
    metric, arms, baseline = report["metric"], report["arms"], report["baseline"]
    sentences = []
    for name, arm in arms.items():
        if not arm["metric"]["n"]:
            sentences.append(f"`{name}` has no finished run ({describe_runs(arm)}).")
            continue
        reached = f"{format_metric(arm['metric'], metric)} (n={arm['metric']['n']})"
        text = f"`{name}`: {label_of(metric)} {reached}"
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
    """Renders a table of the arms; the paper's numbers have their own columns."""
    metric, baseline = report["metric"], report["baseline"]
    named, of_paper = f"{label_of(metric)}{unit_of(metric)}", papers_numbers(report)
    ours = "ours: " if of_paper else ""
    parameters = _parameters(report)
    header = [
        "arm", "n", f"{ours}{named}, mean ± sd", "min to max", f"{ours}updates",
        f"updates against `{baseline}`", f"{ours}wall clock, s", f"time against `{baseline}`",
        "batch size", "learning rate",
        *([f"{ours}{label_of(PARAMETERS)}"] if parameters else []),
        *((f"paper: {named}", "paper: updates") if of_paper else ()),
    ]  # fmt: skip
    rows = []
    for name, arm in report["arms"].items():
        summary = arm["metric"]
        spread = NONE
        if summary["n"] > 1 and summary["max"] is not None:  # all its runs have a value
            low, high = (format_number(summary[key], metric) for key in ("min", "max"))
            spread = f"{low} to {high}"
        rows.append([
            f"`{name}`", describe_runs(arm), format_metric(summary, metric, unit=False), spread,
            format_count(arm["updates"]), _ratio(report, name, "updates", "fewer"),
            format_seconds(arm["seconds"]), _ratio(report, name, "seconds", "less"),
            _from_to(arm["batch_size"], "{:,.0f}"), _from_to(arm["learning_rate"], "{:.4g}"),
            *([parameters[name]] if parameters else []),
            *(format_paper(arm["paper"], key, tag=True) for key in of_paper),
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
        "Mean ± standard deviation (sd) over the n finished seeds, of the final "
        f"{label_of(metric)}; wall clock is training time without evaluation; ratios are ratios "
        "of means."
    )
    keys = ("tag", "accuracy_tag", "updates_tag")
    papers = [arm["paper"] for arm in report["arms"].values()]
    given = (paper[key] for paper in papers for key in keys if paper.get(key))
    tags = _explain_tags("The paper's numbers", given)
    setting = (report["paper"] or {}).get("setting")
    if tags and setting:
        tags += f" They are for {setting}: compare orderings and ratios, not accuracies."
    blocks = [markdown_table(header, rows), " ".join(filter(None, [legend, tags]))]
    blocks += _render_measured(report) + _render_targets(report) + _render_reference(report)
    return "\n\n".join([*blocks, *(["\n".join(described + notes)] if described or notes else [])])


def _parameters(report: dict[str, Any]) -> dict[str, str]:
    """Returns the parameters that each arm trains; empty if all are equal or not known."""
    summaries = {name: arm.get(PARAMETERS) or {"n": 0} for name, arm in report["arms"].items()}
    known = {summary["mean"] for summary in summaries.values() if summary["n"]}
    if len(known) < 2:
        return {}
    return {name: format_count(summary) for name, summary in summaries.items()}


def _render_measured(report: dict[str, Any]) -> list[str]:
    """Renders a table of what callbacks measured at the end of the runs, if there is anything."""
    arms = report["arms"].items()
    names = list(dict.fromkeys(name for _, arm in arms for name in arm.get("measured", {})))
    ours = "ours: " if papers_numbers(report) else ""
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
    table = markdown_table(["arm", *(f"{ours}{label_of(each)}" for each in names)], rows)
    return [f"Measured at the end of each run, mean ± standard deviation:\n\n{table}"]


def _render_targets(report: dict[str, Any]) -> list[str]:
    """Renders a table for each target: what the arms spent until they reached it."""
    tables = []
    for target in report.get("targets") or ():
        names = [f"{spent}_to_{target}" for spent in SPENT]
        rows = []
        for name, arm in report["arms"].items():
            summaries = [arm["targets"][target][spent] for spent in SPENT]
            n, reached = summaries[0]["n"], summaries[0]["reached"]
            cells = map(_spent_until, summaries, names)
            rows.append([f"`{name}`", f"{reached} of {n}" if n else NONE, *cells])
        _, what = label_of(names[0]).split(" to ", 1)
        header = ["arm", "reached by", "updates", "epochs", "training time, s"]
        tables.append(
            f"Spent until a {what}, up to the first evaluation that reached it: mean ± standard "
            "deviation; if not all runs reached it, the median, provided the middle runs did:\n\n"
            f"{markdown_table(header, rows)}"
        )
    return tables


def _render_reference(report: dict[str, Any]) -> list[str]:
    """Renders a table of the epochs to the target: the recipe's own reference and ours."""
    reference = report.get("reference")
    if not reference:
        return []
    rows = []
    for arm, point in reference["points"].items():
        mark = " (interpolated)" if point["interpolated"] else ""
        ours = NONE if point["mean"] is None else f"{point['mean']:.1f}"
        finding = f"**{point['finding']}**" if point["suspicious"] else point["finding"]
        if point["p_value"] is not None:
            finding += f" ({format_p(point['p_value'])})"
        rows.append([
            f"`{arm}`", f"{point['batch_size']:,}", f"{point['epochs']:.1f}{mark}", ours,
            f"{point['reached']} of {point['n']}" if point["n"] else NONE, finding,
        ])  # fmt: skip
    header = ["arm", "batch size", "reference: epochs", "ours: epochs", "reached by", "finding"]
    _, what = label_of(f"epochs_to_{reference['target']}").split(" to ", 1)
    tags = _explain_tags("The reference", [reference["tag"]])
    said = (
        f"Epochs until a {what}, compared with the recipe's own reference: {reference['source']} "
        f"[{letter_of(reference['tag'])}]. The reference is interpolated linearly between its "
        "batch sizes."
    )
    return [f"{said} {tags}".rstrip() + f"\n\n{markdown_table(header, rows)}"]


def _spent_until(summary: dict[str, Any], metric: str) -> str:
    if summary["mean"] is not None or not summary["n"]:
        return format_metric(summary, metric)
    median = summary["median"]
    return NONE if median is None else f"median {format_number(median, metric)}"


def _lower_bounds(summary: dict[str, Any]) -> str:
    bounds = summary.get("lower_bounds")
    return f" ({bounds} of {summary['n']} are lower bounds)" if bounds else ""


def render_claims(report: dict[str, Any]) -> str:
    """Renders a table of the claims with verdict, effect and reason, and a text on the tests."""
    if not report["claims"]:
        return "The config makes no claims."
    rows, has_paper = [], any(claim.get("paper") for claim in report["claims"])
    for claim in report["claims"]:
        result = claim["result"]
        source = f" ({claim['source']} [{letter_of(claim['tag'])}])" if claim.get("source") else ""
        rows.append([
            f"{claim['statement']}{source}", f"**{result['verdict']}**", describe_effect(claim),
            *([format_claimed(claim)] if has_paper else []), describe_n(result["n"]),
            result["reason"],
        ])  # fmt: skip
    header = [
        "claim", "verdict", "effect, ours" if has_paper else "effect",
        *(["paper (arm; baseline)"] if has_paper else []), "n (arm and baseline)", "reason",
    ]  # fmt: skip
    tags = (claim["tag"] for claim in report["claims"] if claim.get("source"))
    explained = [_explain_tags("The claims", tags), f"Verdicts: {TEST_STATED}"]
    if any(is_target(claim["metric"]) for claim in report["claims"]):
        explained.append(TARGETS_STATED)
    return "\n\n".join([markdown_table(header, rows), " ".join(filter(None, explained))])


def render_circumstances(report: dict[str, Any]) -> str:
    """Renders a list of command, config, data, date, seeds, hardware, versions and notes."""
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


def _render_not_finished(report: dict[str, Any]) -> list[str]:
    if not report["runs_not_finished"]:
        return []
    lines = []
    for row in report["runs_not_finished"]:
        error = f": {' '.join(str(row['error']).split())}" if row["error"] else ""
        lines.append(f"- `{row['arm']}` seed {row['seed']}: {describe_outcome(row)}{error}")
    return ["## Runs that did not finish", "\n".join(lines)]


def _explain_tags(what: str, tags) -> str:
    """Returns a sentence that explains the letters in brackets; empty without any."""
    used = sorted({letter_of(str(tag)) for tag in tags})
    known = [f"[{letter}] {LETTERS[letter]}" for letter in used if letter in LETTERS]
    return f"{what}: {'; '.join(known)}." if known else ""


def _data_note(report: dict[str, Any]) -> str:
    description = report.get("dataset_description")
    return f": {description}" if description else ""


def _caption(name: str) -> str:
    name = name.rsplit("/", 1)[-1].removesuffix(".png")
    return re.sub(r"^val_", "test_", name).replace("_", " ")


def _compare(ratio: float, less: str, what: str, baseline: str) -> str:
    """Returns a comparison such as "2.80x fewer updates than `original`"."""
    text = format_ratio(ratio, less)
    return f"{text} {what} {'as' if text.startswith('as ') else 'than'} `{baseline}`"


def _ratio(report: dict[str, Any], arm: str, what: str, less: str) -> str:
    """Formats an arm's ratio to the baseline; a dash in the baseline's own row."""
    ratio = report["arms"][arm][f"{what}_ratio"]
    return NONE if arm == report["baseline"] else format_ratio(ratio, less)


def _from_to(ends: dict[str, Any], form: str) -> str:
    texts = [form.format(ends[key]) for key in ("first", "last") if ends[key] is not None]
    return " to ".join(dict.fromkeys(texts)) or NONE
