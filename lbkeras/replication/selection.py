"""Selects a tuning's best learning rates, or trials of several settings, by a fixed rule.

python -m lbkeras.replication.selection WORKDIR
"""

import argparse
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lbkeras import metrics
from lbkeras.errors import UserError
from lbkeras.replication.formats import describe_runs, format_metric
from lbkeras.replication.report import build_report

_NAME = re.compile(r"(.+)_(rate|trial)_([0-9_e+-]+)")
_DIGITS = 6  # means that differ by less are equal: accuracies are float32


def select_arms(report: dict[str, Any]) -> dict[str, str]:
    """Selects the best arm of each group of a tuning.

    Arms are named GROUP_rate_RATE, with `_` for RATE's decimal point, or GROUP_trial_NUMBER if a
    trial has several settings. The best arm has the highest mean of the report's metric over the
    seeds, or the lowest where less is better, as for a loss. Of equal arms, the one with the
    smallest rate or the first trial is selected. Only arms whose seeds all finished are considered;
    if the metric is the cost of reaching a target, all seeds must have reached it, too.

    >>> def arm(*values):
    ...     return {"metric": {"n": len(values), "mean": sum(values) / len(values)}}
    >>> arms = {"sgd_32_rate_0_1": arm(0.9, 0.9), "sgd_32_rate_0_2": arm(0.9, 0.8)}
    >>> select_arms({"arms": arms, "seeds": [0, 1], "metric": "val_accuracy"})
    {'sgd_32': 'sgd_32_rate_0_1'}

    Args:
        report: what `build_report` returns.

    Raises:
        UserError: the metric's better direction is not known, an arm has another form of name, or
            no arm of a group finished all its seeds.
    """
    better = metrics.of(report["metric"]).better
    if better is None:
        raise UserError(
            "metric: expected a metric whose better direction lbkeras knows, received "
            f"{report['metric']!r}"
        )
    sign = 1 if better == metrics.HIGHER else -1
    chosen: dict[str, tuple] = {}
    groups: dict[str, None] = {}
    for arm, values in report["arms"].items():
        group, rate = _group_and_rate(arm)
        groups[group] = None
        ended = values["metric"].get("reached", values["metric"]["n"])  # "reached": of a target
        if ended < len(report["seeds"]):
            continue
        candidate = (sign * round(values["metric"]["mean"], _DIGITS), -rate, arm)
        chosen[group] = max(candidate, chosen.get(group, candidate))
    for group in groups:
        if group not in chosen:
            raise UserError(f"group {group}: expected an arm that finished all "
                            f"{len(report['seeds'])} seeds, received none")  # fmt: skip
    return {group: chosen[group][-1] for group in groups}


def render_selection(report: dict[str, Any]) -> str:
    """Returns a line per group: the selected rate or trial, then the mean of every arm.

    A selected rate at the edge of those tried is marked.
    """
    lines = []
    for group, best in select_arms(report).items():
        arms = sorted(
            (arm for arm in report["arms"] if _group_and_rate(arm)[0] == group),
            key=lambda arm: _group_and_rate(arm)[1],
        )
        tried = ", ".join(
            f"{_group_and_rate(arm)[1]:g}: "
            f"{format_metric(report['arms'][arm]['metric'], report['metric'])} "
            f"({describe_runs(report['arms'][arm])})"
            for arm in arms
        )
        at_edge = "_trial_" not in best and best in (arms[0], arms[-1])
        edge = " (at the edge of those tried)" if at_edge else ""
        lines.append(f"{group}: {_group_and_rate(best)[1]:g}{edge}; {tried}")
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> int:
    """Prints what was selected; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m lbkeras.replication.selection")
    parser.add_argument("workdir", type=Path, metavar="WORKDIR")
    options = parser.parse_args(arguments)
    try:
        print(render_selection(build_report(options.workdir)))
    except UserError as error:
        print(f"lbkeras: error: {error}", file=sys.stderr)
        return 2
    return 0


def _group_and_rate(arm: str) -> tuple[str, float]:
    match = _NAME.fullmatch(arm)
    try:
        if match:
            return match[1], float(match[3].replace("_", "."))
    except ValueError:
        pass
    raise UserError(f"arm {arm!r}: expected a tuning's arm name, such as 'sgd_128_rate_0_1'")


if __name__ == "__main__":
    sys.exit(main())
