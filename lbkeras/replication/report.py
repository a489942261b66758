"""Builds the report of a replication; every number in it comes from the records of its runs."""

import math
import statistics
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from lbkeras import files
from lbkeras.derived import SPENT, is_target
from lbkeras.metrics import NOISE_SCALE, PARAMETERS, measured_at_the_end, noise_scale_is_lower_bound
from lbkeras.replication.claims import Claim
from lbkeras.replication.notes import notes_on
from lbkeras.replication.reference import compare_with_reference
from lbkeras.replication.replication_folder import ReplicationFolder, read_replication_folder
from lbkeras.replication.verdicts import Evidence, judge
from lbkeras.runs.record import RunFolder


def build_report(workdir: Path | str) -> dict[str, Any]:
    """Builds the report of a replication as plain data (the content of report.json).

    Args:
        workdir: the folder that `lbkeras replicate` wrote.

    Returns:
        A dictionary with `title`, `config`, `variant`, `command`, `paper`, `dataset`,
        `dataset_description`, `metric`, `targets`, `seeds`, `baseline` (the first arm), `date`
        (`started`, `finished`), `hardware` and `versions` (each distinct one with its number of
        `runs`), `arms`, `claims` (each with its `result`), `runs_not_finished`, `notes` and, if
        the config has one, its `reference`, as `compare_with_reference` returns it.

        Each of the `arms` has its seeds by outcome; summaries (`n`, `mean`, `standard_deviation`,
        `min`, `median`, `max`, `values`) of `metric`, `updates`, `examples` and `seconds` over its
        finished seeds; summaries of what callbacks `measured` (sharpness, consensus distance) and
        of `trainable_parameters`, over the finished seeds whose record has the value; the ratios
        of the baseline's means to its own; `paper`, the paper's numbers; and `targets`.

        `targets` holds, by name, what the arm's runs spent until they reached each target:
        summaries of `updates`, `epochs` and `seconds`, where `reached` says how many of the n runs
        reached it. The value of a run that did not is None. If there is such a run, the mean, the
        standard deviation and the maximum are None, and so is the median unless the middle runs
        reached the target.

    Raises:
        UserError: a file is missing or malformed.
    """
    return _build(read_replication_folder(workdir))


def write_report(workdir: Path | str, plot_format: str = "png") -> dict[str, Any]:
    """Writes report.md, report.json and plots/*.png to `workdir`, each file atomically.

    Args:
        workdir: the folder that `lbkeras replicate` wrote.
        plot_format: `"png"`; or `"pdf"` or `"svg"`, to write these in addition to the png.

    Returns:
        The report, as `build_report` returns it.

    Raises:
        UserError: a file is missing or malformed.
    """
    from lbkeras.replication.markdown import render_report
    from lbkeras.replication.pictures import write_plots

    folder = read_replication_folder(workdir)
    report = _build(folder)
    pictures = write_plots(folder, plot_format)
    files.write_json(folder.path / "report.json", report)
    names = [picture.relative_to(folder.path).as_posix() for picture in pictures]
    text = render_report(report, names)
    files.write_atomically(folder.path / "report.md", text.encode())
    return report


def _build(folder: ReplicationFolder) -> dict[str, Any]:
    replication = folder.replication
    metric = replication.get("metric", "val_accuracy")
    arms = {arm: _build_arm(folder, arm, metric) for arm in folder.runs}
    baseline = next(iter(arms))
    for values in arms.values():
        for key in ("updates", "seconds"):
            values[f"{key}_ratio"] = _ratio(arms[baseline][key], values[key])
    records = [run.record for runs in folder.runs.values() for run in runs.values() if run.record]
    hardware = _count(record.get("hardware") for record in records)
    versions = _count(record.get("versions") for record in records)
    report = {
        key: replication.get(key)
        for key in (
            *("title", "config", "variant", "command", "paper", "seeds"),
            *("dataset", "dataset_description"),
        )
    }
    return report | {
        "metric": metric,
        "targets": replication.get("targets") or [],
        "baseline": baseline,
        "date": {
            "started": min((r["started"] for r in records if r.get("started")), default=None),
            "finished": max((r["finished"] for r in records if r.get("finished")), default=None),
        },
        "hardware": hardware,
        "versions": versions,
        "arms": arms,
        "claims": _judge(folder),
        **_compare_with_reference(folder),
        "runs_not_finished": _list_not_finished(folder),
        "notes": notes_on(folder, hardware, versions),
    }


def _build_arm(folder: ReplicationFolder, arm: str, metric: str) -> dict[str, Any]:
    runs, described = folder.runs[arm], folder.replication["arms"][arm] or {}
    plan = (folder.replication.get("plans") or {}).get(arm) or {}
    seeds = _outcomes(runs, metric)
    done = [runs[seed] for seed in seeds["finished"]]
    rows = done[0].history if done else []
    steps = rows or plan.get("phases") or [{}]
    return {
        "description": described.get("description", ""),
        "seeds": seeds,
        "metric": _summarize_metric(done, metric),
        "targets": {
            target: {spent: _summarize_metric(done, f"{spent}_to_{target}") for spent in SPENT}
            for target in folder.replication.get("targets") or ()
        },
        "updates": _summarize([run.value("updates") for run in done]),
        "examples": _summarize([run.value("examples_seen") for run in done]),
        "seconds": _summarize([run.value("seconds") for run in done]),
        "measured": _summarize_measured(done),
        PARAMETERS: _summarize([run.value(PARAMETERS) for run in done if PARAMETERS in run.record]),
        "planned_updates": plan.get("updates"),
        "batch_size": {"first": steps[0].get("batch_size"), "last": steps[-1].get("batch_size")},
        "learning_rate": {
            "first": steps[0].get("learning_rate"),
            "last": steps[-1].get("learning_rate"),
        },
        "settings_from": "history" if rows else "plan",
        "paper": described.get("paper") or {},
    }


def _summarize_metric(done: list[RunFolder], metric: str) -> dict[str, Any]:
    values = [run.value(metric) for run in done]
    if not is_target(metric):
        return _summarize(values)
    reached = [value for value in values if value is not None]
    summary = _summarize(reached) | {"n": len(values), "reached": len(reached), "values": values}
    if len(reached) < len(values):
        middle = statistics.median([math.inf if value is None else value for value in values])
        summary |= dict.fromkeys(("mean", "standard_deviation", "max"))
        summary["median"] = middle if math.isfinite(middle) else None
    return summary


def _summarize_measured(done: list[RunFolder]) -> dict[str, Any]:
    """Summarizes what callbacks measured, by name; counts noise scales that are lower bounds."""
    names = dict.fromkeys(name for run in done for name in run.record.get("final", ()))
    measured = {
        name: _summarize([run.value(name) for run in done if name in run.record["final"]])
        for name in names
        if measured_at_the_end(name)
    }
    if NOISE_SCALE in measured:
        finals = [run.record.get("final", {}) for run in done]
        bounds = sum(map(noise_scale_is_lower_bound, finals))
        measured[NOISE_SCALE]["lower_bounds"] = bounds
    return measured


def _outcomes(runs: dict[int, RunFolder], metric: str) -> dict[str, list[int]]:
    """Groups the seeds by outcome.

    A finished run whose metric is not finite counts as diverged. A finished run that did not reach
    a target counts as finished.
    """
    outcomes = {"finished": [], "diverged": [], "unfinished": [], "not_run": []}
    for seed, run in runs.items():
        status = run.status
        if status == "finished" and run.value(metric) is None and run.bound(metric) is None:
            status = "diverged"
        status = "not_run" if status == "not run" else status
        outcomes[status if status in outcomes else "unfinished"].append(seed)
    return outcomes


def _judge(folder: ReplicationFolder) -> list[dict[str, Any]]:
    """Returns the claims with their verdicts, which are corrected together."""
    results = judge([_gather(folder, claim) for claim in folder.claims])
    for claim, result in zip(folder.claims, results, strict=True):
        missing = []
        for arm in (claim.arm, claim.baseline):
            outcomes = _outcomes(folder.runs[arm], claim.metric)
            left = outcomes["unfinished"] + outcomes["not_run"]
            if left:
                missing.append(f"{arm} seed {', '.join(map(str, sorted(left)))}")
        if missing:
            result["reason"] += f" Not finished: {'; '.join(missing)}."
    return [
        {**claim.to_dict(), "result": result}
        for claim, result in zip(folder.claims, results, strict=True)
    ]


def _compare_with_reference(folder: ReplicationFolder) -> dict[str, Any]:
    reference = folder.replication.get("reference")
    if reference is None:
        return {}
    finished = {
        arm: [run for run in runs.values() if run.status == "finished"]
        for arm, runs in folder.runs.items()
    }
    return {"reference": compare_with_reference(reference, finished)}


def _gather(folder: ReplicationFolder, claim: Claim) -> Evidence:
    values, diverged, unreached, resolutions = [], [], [], []
    for runs in (folder.runs[claim.arm], folder.runs[claim.baseline]):
        outcomes = _outcomes(runs, claim.metric)
        found = {seed: runs[seed].value(claim.metric) for seed in outcomes["finished"]}
        unreached.append([seed for seed, value in found.items() if value is None])
        found |= {seed: runs[seed].bound(claim.metric) for seed in unreached[-1]}
        values.append(found)
        diverged.append(outcomes["diverged"])
        each = [runs[seed].resolution(claim.metric) for seed in outcomes["finished"]]
        resolutions.append(None if None in each else max(each, default=None))
    resolution = None if None in resolutions else resolutions
    return Evidence(claim, *values, *diverged, resolution, *unreached)  # type: ignore


def _list_not_finished(folder: ReplicationFolder) -> list[dict[str, Any]]:
    listed = []
    for arm, runs in folder.runs.items():
        for seed, run in runs.items():
            if run.status != "finished":
                epochs = run.record.get("epochs", len(run.history))
                row = {"arm": arm, "seed": seed, "status": run.status, "epochs": epochs}
                listed.append(row | {"error": run.record.get("error")})
    return listed


def _summarize(values: list[float]) -> dict[str, Any]:
    if any(value is None for value in values):
        values = [value for value in values if value is not None]
    if not values:
        return dict.fromkeys(("mean", "standard_deviation", "min", "median", "max")) | {
            "n": 0,
            "values": [],
        }
    return {
        "n": len(values),
        "mean": statistics.fmean(values),
        "standard_deviation": statistics.stdev(values) if len(values) > 1 else None,
        "min": min(values),
        "median": statistics.median(values),
        "max": max(values),
        "values": values,
    }


def _ratio(baseline: dict[str, Any], arm: dict[str, Any]) -> float | None:
    return baseline["mean"] / arm["mean"] if baseline["mean"] and arm["mean"] else None


def _count(items: Iterable[Any]) -> list[dict[str, Any]]:
    """Returns the distinct dictionaries, each with the number of `runs` that have it."""
    counted: list[dict[str, Any]] = []
    for item in items:
        if not isinstance(item, dict):
            continue
        for known in counted:
            if {key: value for key, value in known.items() if key != "runs"} == item:
                known["runs"] += 1
                break
        else:
            counted.append({**item, "runs": 1})
    return counted
