"""Tries the arms of a config without training them: each batch size once, at its real shapes."""

import contextlib
import dataclasses
import tempfile
from pathlib import Path

from lbkeras.advice.arms_of_one_model import ArmsOfOneModel, Options, Place, TriedArm, key_of
from lbkeras.errors import UserError, one_line
from lbkeras.keras_internals.backend_start import require_tensorflow
from lbkeras.keras_internals.tensorflow_start import load_tensorflow
from lbkeras.runs.train_section import keras_session


@dataclasses.dataclass(frozen=True)
class Failure:
    """What went wrong: in which arms, at which batch size (None: before any), in which stage."""

    arms: list[str]
    batch_size: int | None
    stage: str
    reason: str

    def __str__(self) -> str:
        size = "" if self.batch_size is None else f", batch size {self.batch_size:,}"
        arms = f"arm{'s' * (len(self.arms) > 1)} {', '.join(self.arms)}"
        return f"{arms}{size}, {self.stage}: {self.reason}"


@dataclasses.dataclass
class DryRun:
    """What came of a dry run.

    Attributes:
        strategy: what it ran on, in words.
        arms: those that passed.
        failures: of the others.
        batch_bytes: host memory of the largest batch's examples.
    """

    strategy: str
    arms: dict[str, TriedArm]
    failures: list[Failure]
    batch_bytes: int = 0


def dry_run(
    tasks: dict,
    strategy: str = "auto",
    budget_mb: float | None = None,
    *,
    seed: int = 0,
    micro_batch_size: int = 0,
    num_workers: int = 1,
    examples: int | None = None,
    say=print,
) -> DryRun:
    """Tries arms: for each batch size one piece of a batch, the update, the schedule, a checkpoint.

    The data are those of the middle of each phase, in the plan's order. Arms that differ in plan,
    callbacks and optimizer only share a model, and those of one optimizer what a piece takes.

    Args:
        tasks: an arm's name to its `ConfigTask`.
        strategy: a name for `lbkeras.distribution.strategy`, of this process alone.
        budget_mb: as for `probe_batch_sizes`.
        seed: of initialization, order and augmentation.
        micro_batch_size: of a replica, at most; 0: as many as fit, its share halved until they do.
        num_workers: that divide a batch, of which this process is one.
        examples: the most of a piece, which is then computed eagerly and not timed; of each
            optimizer one checkpoint is written. None: as many as fit.
        say: called with one line whenever something takes long.

    Returns:
        A `DryRun`; what fails does not keep the other arms from being tried.

    Raises:
        UserError: there is no such strategy here.
    """
    require_tensorflow("--dry_run")
    load_tensorflow()
    from lbkeras.distribution.strategy import describe
    from lbkeras.distribution.strategy import strategy as make_strategy

    chosen = make_strategy(strategy)
    result = DryRun(describe(chosen), {}, [])
    options = Options(chosen, budget_mb, seed, micro_batch_size, num_workers, examples, say)
    known = {}, set()  # data, and optimizers that a checkpoint was written of
    for arms in _sharing_a_model(tasks):
        with keras_session(tasks[arms[0]].settings, seed):
            _try_together({arm: tasks[arm] for arm in arms}, options, known, result)
    result.failures = _joined(result.failures)
    result.arms = {arm: result.arms[arm] for arm in tasks if arm in result.arms}
    return result


def _try_together(tasks: dict, options: Options, known, result: DryRun) -> None:
    """Tries arms that share a model; the result gets what they take, or where they failed."""
    place, group = Place(list(tasks)), None
    with tempfile.TemporaryDirectory(prefix="lbkeras_dry_run_") as folder:
        with _noting(result, place):
            group = ArmsOfOneModel(tasks[place.arms[0]], options, Path(folder), place, *known)
        for arm, task in tasks.items() if group else ():
            place.arms, place.batch_size = [arm], None
            with _noting(result, place):
                result.arms[arm] = found = group.try_arm(arm, task)
                size = max(found.tried) // options.num_workers * group.data.bytes_each
                result.batch_bytes = max(result.batch_bytes, size)


@contextlib.contextmanager
def _noting(result: DryRun, place: Place):
    """What goes wrong in this block is a failure of the result, and keeps nothing else from it."""
    try:
        yield
    except Exception as error:
        kind = "" if isinstance(error, UserError) else f"{type(error).__name__}: "
        reason = kind + one_line(str(error))[:300]
        result.failures.append(Failure(place.arms, place.batch_size, place.stage, reason))


def _sharing_a_model(tasks: dict) -> list[list[str]]:
    groups = {}
    for arm, task in tasks.items():
        same = {k: v for k, v in task.settings.items() if k not in ("plan", "callbacks")}
        same["optimizer"] = task.num_nodes
        key = key_of([same, task.data_dir, task.fake_data])
        groups.setdefault(key, []).append(arm)
    return list(groups.values())


def _joined(failures: list[Failure]) -> list[Failure]:
    """One for all arms that failed alike."""
    joined = {}
    for each in failures:
        key = each.batch_size, each.stage, each.reason
        joined.setdefault(key, []).extend(each.arms)
    return [Failure(arms, *key) for key, arms in joined.items()]
