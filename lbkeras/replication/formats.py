"""Formats the numbers and runs of a report; computes nothing except for unit conversions."""

import unicodedata
from collections.abc import Callable, Sequence
from typing import Any

from lbkeras import metrics
from lbkeras.derived import is_target
from lbkeras.replication.claims import letter_of

NONE = "–"
_OF_A_PAPER = ("accuracy", "updates")


def format_metric(summary: dict[str, Any], metric: str, unit: bool = True) -> str:
    """Formats a summary: `94.30 ± 0.12 %`, or `94.30 (n=1)` for a single run, without a spread.

    If not every run reached a target: `reached by 2 of 3, median 1,234`.
    """
    if not summary["n"]:
        return NONE
    if summary.get("reached", summary["n"]) < summary["n"]:
        text = f"reached by {summary['reached']} of {summary['n']}"
        median = summary["median"]
        return text if median is None else f"{text}, median {format_number(median, metric)}"
    mean = format_number(summary["mean"], metric)
    percent = " %" if unit and metrics.of(metric).is_share else ""
    if summary["standard_deviation"] is None:
        return f"{mean}{percent} (n=1)" if not unit else f"{mean}{percent}"
    return f"{mean} ± {format_number(summary['standard_deviation'], metric)}{percent}"


def format_count(summary: dict[str, Any]) -> str:
    """Formats a count: `1,234`, with the standard deviation if the seeds differ."""
    if not summary["n"]:
        return NONE
    text = f"{summary['mean']:,.0f}"
    deviation = summary["standard_deviation"]
    return f"{text} ± {deviation:,.0f}" if deviation else text


def format_seconds(summary: dict[str, Any]) -> str:
    """Formats a time: `123.4 ± 1.2`."""
    if not summary["n"]:
        return NONE
    digits = 0 if summary["mean"] >= 1000 else 1 if summary["mean"] >= 10 else 2
    text = f"{summary['mean']:,.{digits}f}"
    deviation = summary["standard_deviation"]
    return text if deviation is None else f"{text} ± {deviation:,.{digits}f}"


def format_ratio(ratio: float | None, less: str) -> str:
    """Formats a ratio: `2.80x fewer`, `1.25x more`, `as many` or `as much`, or a dash for None.

    Args:
        ratio: the baseline's mean over the arm's.
        less: `fewer` for what is counted (then `as many`), `less` for what is measured.
    """
    if ratio is None:
        return NONE
    times = f"{max(ratio, 1 / ratio):.2f}x"
    if times == "1.00x":
        return "as many" if less == "fewer" else "as much"
    return f"{times} {less if ratio > 1 else 'more'}"


def format_paper(paper: dict[str, Any], key: str, tag: bool = False) -> str:
    """Formats a paper's number as the paper has it, with its tag in brackets if `tag`."""
    value = paper.get(key)
    if value is None:
        return NONE
    number = isinstance(value, (int, float))
    text = str(value)
    if number:
        text = f"{100 * value:.2f}" if key == "accuracy" else f"{value:,.0f}"
    label = paper.get(f"{key}_tag", paper.get("tag"))
    return f"{text} [{letter_of(str(label))}]" if tag and label else text


def format_claimed(claim: dict[str, Any]) -> str:
    """Formats the paper's values for a claim's two arms: `76.26 %; 76.40 %`, or a dash."""
    paper, metric = claim.get("paper") or {}, claim["metric"]
    texts = [
        f"{format_number(value, metric)}{unit_of(metric)}"
        if isinstance(value, (int, float))
        else value
        for value in (paper.get("arm"), paper.get("baseline"))
    ]
    return "; ".join(NONE if text is None else str(text) for text in texts) if paper else NONE


def describe_effect(claim: dict[str, Any]) -> str:
    """Formats a claim's effect with its interval: `-0.10 points (-0.60 to +0.40)`."""
    result, metric = claim["result"], claim["metric"]
    effect, interval = result["effect"], result["confidence_interval"]
    if effect is None:
        return NONE
    bound = f"{result['effect_is']} " if result.get("effect_is") else ""
    if claim["test"] == "ratio_at_least":
        text, form = f"{effect:.2f}x {label_of(metric)}", (lambda value: f"{value:.2f}")
    elif metrics.of(metric).is_share:
        text, form = f"{_signed_points(effect)} points", _signed_points
    else:
        text, form = f"{effect:+.4g}", (lambda value: f"{value:+.4g}")
    if interval and interval[0] != interval[1]:
        text += f" ({form(interval[0])} to {form(interval[1])})"
    return bound + text


def _signed_points(value: float) -> str:
    return f"{round(100 * value, 2) + 0.0:+.2f}"  # never -0.00


def describe_runs(arm: dict[str, Any]) -> str:
    """Describes an arm's runs: `n=3`, or `n=2, 1 diverged` if some seeds did not finish."""
    seeds = arm["seeds"]
    others = [
        f"{len(seeds[key])} {key.replace('_', ' ')}"
        for key in ("diverged", "unfinished", "not_run")
        if seeds[key]
    ]
    return ", ".join([f"n={len(seeds['finished'])}", *others])


def describe_n(n: dict[str, int]) -> str:
    """Describes the n of a claim.

    `5 pairs`; `5 and 4, 4 pairs` if some seeds of an arm are left out; `5 and 4` without pairs.
    """
    both = f"{n['arm']} and {n['baseline']}"
    if not n["pairs"]:
        return both
    pairs = f"{n['pairs']} pairs"
    return pairs if n["arm"] == n["baseline"] == n["pairs"] else f"{both}, {pairs}"


def describe_outcome(row: dict[str, Any]) -> str:
    """Describes how a run ended: `diverged after 3 epochs`, `not run`."""
    if row["status"] == "not run":
        return "not run"
    return f"{row['status']} after {row['epochs']} {'epoch' if row['epochs'] == 1 else 'epochs'}"


def describe_date(date: dict[str, Any]) -> str:
    """Describes when the runs were made: the days of the first start and the last end."""
    days = [str(date[key])[:10] for key in ("started", "finished") if date[key]]
    return " to ".join(dict.fromkeys(days)) or NONE


def describe_hardware(hardware: dict[str, Any]) -> str:
    """Describes one machine in a line."""
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
    """Describes one set of versions in a line."""
    listed = ", ".join(f"{name} {value}" for name, value in versions.items() if name != "runs")
    return f"{listed} ({_count_runs(versions['runs'])})"


def _count_runs(count: int) -> str:
    return "1 run" if count == 1 else f"{count} runs"


def label_of(metric: str) -> str:
    """Returns a metric's name for readers: `test accuracy`."""
    return metrics.of(metric).label


def unit_of(metric: str) -> str:
    """Returns ` %` for an accuracy or another share, else an empty string."""
    return " %" if metrics.of(metric).is_share else ""


def format_number(value: float, metric: str) -> str:
    """Formats one value of a metric: `94.30`, `1,234` or `0.01235`."""
    if metrics.of(metric).is_share:
        return f"{100 * value:.2f}"
    if is_target(metric):
        return f"{value:,.{0 if value >= 1000 or value == int(value) else 1}f}"
    return f"{value:,.0f}" if value == int(value) else f"{value:.4g}"


def papers_numbers(report: dict[str, Any]) -> tuple[str, ...]:
    """Returns `("accuracy", "updates")` if the paper gives either for any arm, else `()`."""
    papers = [arm["paper"] for arm in report["arms"].values()]
    has_any = any(paper.get(key) is not None for paper in papers for key in _OF_A_PAPER)
    return _OF_A_PAPER if has_any else ()


def with_texts(data: Any, change: Callable[[str], str]) -> Any:
    """Applies `change` to every text in nested data, including keys."""
    if isinstance(data, str):
        return change(data)
    if isinstance(data, dict):
        return {with_texts(k, change): with_texts(v, change) for k, v in data.items()}
    if isinstance(data, list | tuple):
        return [with_texts(each, change) for each in data]
    return data


def printable(text: str) -> str:
    """Turns white space into spaces and replaces control characters, which a terminal obeys."""
    return "".join(
        " " if c.isspace() else "�" if unicodedata.category(c) in ("Cc", "Cf") else c for c in text
    )


def markdown_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Returns a table in Markdown; a `|` in a cell becomes a similar character."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(
        f"| {' | '.join(str(cell).replace('|', '∣') for cell in line)} |" for line in lines
    )
