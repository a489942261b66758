"""`lbkeras train --dry_run`: tries every batch size of every arm and predicts what it takes."""

import dataclasses
import json
import os
import sys
from pathlib import Path

from lbkeras import devices
from lbkeras.advice.tables import format_dry_run
from lbkeras.config import is_own
from lbkeras.distribution import cluster
from lbkeras.errors import UserError
from lbkeras.runs import experiment
from lbkeras.terminal_text import terminal_width, wrapped


def dry_run(flags) -> int:
    """Tries a config's arms, prints what they take and what is missing, and keeps nothing.

    Args:
        flags: the flags of `lbkeras train`.

    Returns:
        0; 2 if an arm failed.

    Raises:
        UserError: flags contradict each other, or an arm's plan is not valid.
    """
    tasks = _tasks(flags)
    workers = _workers(flags)
    budget_mb = devices.count_cpu_memory() if flags.memory_limit_mb == 0 else None
    devices.configure_devices(flags.num_logical_devices, flags.memory_limit_mb)
    from lbkeras.advice import dry_run as trial
    from lbkeras.advice.missing import missing

    result = trial.dry_run(
        tasks,
        _strategy(flags, workers),
        budget_mb,
        seed=flags.seed,
        micro_batch_size=flags.micro_batch_size,
        num_workers=workers,
        say=lambda line: print(line, file=sys.stderr, flush=True),
    )
    folder = Path(flags.workdir or ".").absolute()
    lacks = missing(result, tasks, folder, flags.micro_batch_size, workers)
    if flags.format == "json":
        print(json.dumps(_data(result, lacks, flags.fake_data), indent=2))
    else:
        print(_text(result, lacks, flags.fake_data))
    for failure in result.failures:
        print(f"lbkeras: error: {failure}", file=sys.stderr)
    return 2 if result.failures else 0


def _tasks(flags) -> dict:
    from lbkeras.runs.config_task import ConfigTask

    names = experiment.arm_names(flags.config) if flags.arm is None else [flags.arm]
    tasks = {}
    for arm in names:
        settings = experiment.arm_settings(flags.config, arm)
        if flags.fake_data and is_own(settings["data"]["name"]):
            raise UserError(
                "--fake_data: expected a named data set, received data.name="
                f"{settings['data']['name']!r}, a function, whose data is always used; omit "
                "--fake_data"
            )
        task = tasks[arm] = ConfigTask(settings, flags.data_dir, flags.fake_data)
        try:
            task.plan.updates()
        except UserError as error:
            raise UserError(f"arm {arm}: {error}") from None
    return tasks


def _workers(flags) -> int:
    """Returns how many workers would train together; the dry run itself uses only this one."""
    if flags.workers is not None:
        workers = [each for each in flags.workers.split(",") if each.strip()]
        return cluster.Cluster(tuple(map(str.strip, workers)), flags.worker_index or 0).num_workers
    if flags.strategy not in ("auto", "multi_worker"):
        return 1
    present = cluster.present_cluster()
    os.environ.pop("TF_CONFIG", None)
    return present.num_workers if present else 1


def _strategy(flags, workers: int) -> str:
    """Returns the strategy for this process alone."""
    if flags.num_logical_devices > 1 and flags.strategy in ("auto", "multi_worker"):
        return "mirrored"
    if workers > 1 or flags.strategy == "multi_worker":
        return "auto"
    return flags.strategy


def _text(result, lacks: list[str], fake_data: bool) -> str:
    data = ", fake data" if fake_data else ""
    parts = [f"dry run on {result.strategy}{data}; nothing was trained"]
    if result.arms:
        parts.append(format_dry_run(result, terminal_width()))
    notes = [f"{arm}: {note}" for arm, each in result.arms.items() for note in each.notes]
    if notes:
        parts.append("\n".join(wrapped(note, 80, "  ") for note in notes))
    if lacks:
        lines = [wrapped(f"  {line}", 80, "    ") for line in lacks]
        parts.append("\n".join(["missing on this machine", *lines]))
    return "\n\n".join(parts)


def _data(result, lacks: list[str], fake_data: bool) -> dict:
    return {
        "strategy": result.strategy,
        "fake_data": fake_data,
        "arms": {
            arm: {
                "updates": found.plan.updates(),
                "seconds": found.seconds,
                "evaluation_examples": found.evaluation[0],
                "evaluation_examples_per_second": found.evaluation[1],
                "checkpoint_bytes": found.checkpoint_bytes,
                "file_bytes": found.file_bytes,
                "batch_sizes": [dataclasses.asdict(each) for each in found.tried.values()],
                "notes": found.notes,
            }
            for arm, found in result.arms.items()
        },
        "failures": [dataclasses.asdict(each) for each in result.failures],
        "missing": lacks,
    }
