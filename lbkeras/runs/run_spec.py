"""The specification of one run: its task, arm, seed and folder."""

import dataclasses
from pathlib import Path
from typing import Any

from lbkeras.runs.train_section import TRAIN, chosen, claimed


@dataclasses.dataclass(frozen=True)
class RunSpec:
    """What identifies a run, where it is written and how it is trained.

    Attributes:
        task: what it trains, a `ConfigTask` or a `PythonTask`.
        arm: the name of the arm.
        seed: the seed of initialization, order and augmentation.
        folder: the run's folder.
        config: the config as the user named it, FILE[:VARIANT].
        command: the command that started it, for the record.
        references: the papers it replicates.
        strategy: a name for `lbkeras.distribution.strategy`.
        micro_batch_size: examples that a replica computes at once; 0: its whole share of a batch,
            halved when memory runs out.
        checkpoint_minutes: the longest time between two checkpoints inside an epoch.
        title: shown before each line of progress.
        seconds_between_lines: minimum seconds between two lines of progress; 0: a line per epoch.
        metric: the final value that is printed as the run's result.
    """

    task: Any
    arm: str
    seed: int
    folder: Path
    config: str
    command: str
    references: tuple[str, ...] = ()
    strategy: str = "auto"
    micro_batch_size: int = 0
    checkpoint_minutes: float = 10.0
    title: str = ""
    seconds_between_lines: float = 0.0
    metric: str = "val_accuracy"


def run_settings(run: RunSpec) -> dict:
    """Returns the settings on which a run's folder and every worker's command must agree."""
    settings = {"arm": run.arm, "seed": run.seed, **run.task.settings}
    return settings | ({TRAIN: claimed(settings)} if TRAIN in settings else {})


def hyper_parameters(run: RunSpec) -> dict:
    """Flattens the settings for TensorBoard's HParams tab, those that arms often vary first."""
    flat = {"arm": run.arm, "seed": run.seed}
    flat |= dict.fromkeys(("plan.batch_size", "plan.learning_rate", "optimizer.name"))
    settings = run.task.settings
    if TRAIN in settings:
        settings = settings | {TRAIN: chosen(settings)}
    for section, values in settings.items():
        for name, value in values.items():
            plain = isinstance(value, bool | int | float | str | None)
            flat[f"{section}.{name}"] = value if plain else str(value)
    return flat
