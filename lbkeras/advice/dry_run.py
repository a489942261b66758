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
    """A failure: the arms, the batch size (None: before any was tried), the stage, the reason."""

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
    """The result of a dry run.

    Attributes:
        strategy: the devices that it ran on, in words.
        arms: a `TriedArm` for each arm that passed.
        failures: those of the other arms.
        batch_bytes: host memory of the examples of the largest batch.
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
    """Tries arms: for each batch size a piece of a batch, the update, the schedule, a checkpoint.

    A batch size is tried with the data of the middle of its first phase, in the training's order.
    Arms that differ only in plan, callbacks and optimizer share a model. Arms with the same
    optimizer also share the measured memory and time of a piece.

    Args:
        tasks: a `ConfigTask` for each arm's name.
        strategy: a name for `lbkeras.distribution.strategy`, of this process alone.
        budget_mb: as for `probe_batch_sizes`.
        seed: of initialization, order and augmentation.
        micro_batch_size: most examples that a replica computes at once. 0: as many as fit; a
            replica's share is halved until it does.
        num_workers: workers that share a batch, including this process.
        examples: most examples of a piece. The piece is then computed eagerly and not timed, and
            one checkpoint per optimizer is written. None: as many as fit.
        say: called with one line before each part that takes long.

    Returns:
        A `DryRun`. A failure does not keep the other arms from being tried.

    Raises:
        UserError: the strategy is not available here.
    """
    require_tensorflow("--dry_run")
    load_tensorflow()
    from lbkeras.distribution.strategy import describe
    from lbkeras.distribution.strategy import strategy as make_strategy

    chosen = make_strategy(strategy)
    result = DryRun(describe(chosen), {}, [])
    options = Options(chosen, budget_mb, seed, micro_batch_size, num_workers, examples, say)
    known = {}, set()  # data, and optimizers that a checkpoint was written for
    for arms in _sharing_a_model(tasks):
        with keras_session(tasks[arms[0]].settings, seed):
            _try_together({arm: tasks[arm] for arm in arms}, options, known, result)
    result.failures = _joined(result.failures)
    result.arms = {arm: result.arms[arm] for arm in tasks if arm in result.arms}
    return result


def _try_together(tasks: dict, options: Options, known, result: DryRun) -> None:
    """Tries arms that share a model, and adds their costs or failures to the result."""
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
    """Records an exception of this block as a failure in the result, and continues after it."""
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
    """Merges the equal failures of several arms into one."""
    joined = {}
    for each in failures:
        key = each.batch_size, each.stage, each.reason
        joined.setdefault(key, []).extend(each.arms)
    return [Failure(arms, *key) for key, arms in joined.items()]
