"""Tries the arms of a config without training them: each batch size once, at its real shapes."""

import dataclasses
import json
import math
import tempfile
from pathlib import Path

from lbkeras.errors import UserError, one_line
from lbkeras.keras_internals.tensorflow_start import load_tensorflow
from lbkeras.planning.plan import Plan
from lbkeras.planning.replicas import check_replicas, replica_batch_size
from lbkeras.runs.train_section import keras_session

_EXAMPLES_OF_ORDER = 8  # that are read twice


@dataclasses.dataclass(frozen=True)
class Tried:
    """What one batch size of an arm takes on this machine.

    Attributes:
        batch_size: global.
        replicas: that divide it, those of other workers too.
        micro_batch_size: examples of a replica at once.
        pieces: of each replica's share.
        memory_mb: the peak on the first device; None where it is not counted.
        seconds_per_update: of all pieces, extrapolated; None where nothing was timed.
        checkpoint_bytes: of one file.
    """

    batch_size: int
    replicas: int
    micro_batch_size: int
    pieces: int
    memory_mb: float | None
    seconds_per_update: float | None
    checkpoint_bytes: int

    @property
    def examples_per_second(self) -> float | None:
        return self.seconds_per_update and self.batch_size / self.seconds_per_update


@dataclasses.dataclass(frozen=True)
class TriedArm:
    """What an arm takes on this machine.

    Attributes:
        plan: its Plan.
        tried: for each of its batch sizes.
        evaluation: examples of a batch, and examples/s.
        notes: what was not tried or is not as the config says, a line each.
    """

    plan: Plan
    tried: dict[int, Tried]
    evaluation: tuple[int, float]
    notes: list[str]

    @property
    def seconds(self) -> float | None:
        """Of all updates, evaluation left out; None where nothing was timed."""
        seconds = [self.phase_seconds(phase) for phase in self.plan.phases]
        return None if None in seconds else sum(seconds)

    def phase_seconds(self, phase) -> float | None:
        """Of all updates of a phase."""
        steps = phase.epochs * self.plan.steps_per_epoch(phase.first_epoch)
        each = self.tried[phase.batch_size].seconds_per_update
        return each and steps * each

    @property
    def checkpoint_bytes(self) -> int:
        return max(each.checkpoint_bytes for each in self.tried.values())

    @property
    def file_bytes(self) -> int:
        """Of a run's folder: two checkpoints, and the model with its optimizer, about as large."""
        return 3 * self.checkpoint_bytes


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
        examples: the most of a piece, which is then computed eagerly and not timed. None: as many
            as fit.
        say: called with one line whenever something takes long.

    Returns:
        A `DryRun`; what fails does not keep the other arms from being tried.

    Raises:
        UserError: there is no such strategy here.
    """
    load_tensorflow()
    from lbkeras.distribution.strategy import describe
    from lbkeras.distribution.strategy import strategy as make_strategy

    chosen = make_strategy(strategy)
    result = DryRun(describe(chosen), {}, [])
    options = _Options(chosen, budget_mb, seed, micro_batch_size, num_workers, examples, say)
    for arms in _sharing_a_model(tasks):
        place = _Place(arms)
        with (
            keras_session(tasks[arms[0]].settings, seed),
            tempfile.TemporaryDirectory(prefix="lbkeras_dry_run_") as folder,
        ):
            group = place.tried(
                result, lambda: _Group(tasks[arms[0]], options, Path(folder), place)
            )
            for arm in arms if group else ():
                place.arms, place.batch_size = [arm], None
                found = place.tried(result, lambda arm=arm: group.try_arm(arm, tasks[arm]))
                if found:
                    result.arms[arm] = found
                    largest = max(found.tried)
                    result.batch_bytes = max(
                        result.batch_bytes, group.bytes_of(largest // num_workers)
                    )
    result.failures = _joined(result.failures)
    result.arms = {arm: result.arms[arm] for arm in tasks if arm in result.arms}
    return result


def _sharing_a_model(tasks: dict) -> list[list[str]]:
    groups = {}
    for arm, task in tasks.items():
        same = {k: v for k, v in task.settings.items() if k not in ("plan", "callbacks")}
        same["optimizer"] = task.num_nodes
        key = json.dumps([same, task.data_dir, task.fake_data], sort_keys=True, default=str)
        groups.setdefault(key, []).append(arm)
    return list(groups.values())


def _joined(failures: list[Failure]) -> list[Failure]:
    """One for all arms that failed alike."""
    joined = {}
    for each in failures:
        key = each.batch_size, each.stage, each.reason
        joined.setdefault(key, []).extend(each.arms)
    return [Failure(arms, *key) for key, arms in joined.items()]


@dataclasses.dataclass
class _Place:
    """Where a dry run is, for what goes wrong there."""

    arms: list[str]
    batch_size: int | None = None
    stage: str = "data"

    def tried(self, result: DryRun, make):
        """What `make` returns; None where it failed, which the result then says."""
        try:
            return make()
        except Exception as error:
            kind = "" if isinstance(error, UserError) else f"{type(error).__name__}: "
            reason = kind + one_line(str(error))[:300]
            result.failures.append(Failure(self.arms, self.batch_size, self.stage, reason))
            return None


@dataclasses.dataclass(frozen=True)
class _Options:
    strategy: object
    budget_mb: float | None
    seed: int
    micro_batch_size: int
    num_workers: int
    examples: int | None
    say: object


class _Group:
    """Arms that share data and model."""

    def __init__(self, task, options: _Options, folder: Path, place: _Place):
        from lbkeras.callbacks.checkpoint_contents import array_of

        self._options, self._folder, self._place = options, folder, place
        place.stage = "data"
        with task.reading_data():
            self._train, self._test = task.pipelines(options.seed)
        place.stage = "model"
        options.say(f"{place.arms[0]}: making the model")
        self._model = task.compiled_model(task.plan, options.strategy, self._train)
        self._initial = [array_of(variable) for variable in self._model.variables]
        self._pieces = {}  # optimizer, examples of a piece and of a step -> memory and seconds
        self._evaluation = None

    def bytes_of(self, examples: int) -> int:
        """Host memory of so many examples as the model gets them."""
        import tensorflow as tf

        specs = tf.nest.flatten(self._train.element_spec)
        each = [math.prod(n or 1 for n in spec.shape[1:]) * spec.dtype.size for spec in specs]
        return examples * sum(each)

    def try_arm(self, arm: str, task) -> TriedArm:
        """Everything of one arm, its batch sizes in the order in which they come."""
        from lbkeras.advice.one_piece import OnePiece, evaluate_batch
        from lbkeras.callbacks.batch_size_scheduler import BatchSizeScheduler
        from lbkeras.keras_internals.borrowed import give_back_all

        options, place, plan, model = self._options, self._place, task.plan, self._model
        place.stage = "model"
        steering = [
            each
            for each in task.callbacks(
                self._folder, pipeline=self._train, validation=self._test, seed=options.seed
            )
            if getattr(each, "owns_learning_rate", False)
        ]
        replicas = options.num_workers * options.strategy.num_replicas_in_sync
        check_replicas(plan, replicas)
        task.compiled_model(
            plan, options.strategy, self._train, steered=bool(steering), model=model
        )
        with options.strategy.scope():
            model.optimizer.build(model.trainable_variables)
        piece = OnePiece(
            model, self._train, options.strategy, options.budget_mb, options.examples
        )
        scheduler = BatchSizeScheduler(self._train, plan)
        scheduler.set_model(model)
        tried = {}
        try:
            for size in dict.fromkeys(phase.batch_size for phase in plan.phases):
                place.batch_size = size
                tried[size] = self._try_batch_size(
                    arm, task, size, replicas, piece, scheduler, not steering
                )
        finally:
            give_back_all(model)
        place.stage = "evaluation"
        if self._evaluation is None:
            most = options.examples or self._test.batch_size
            options.say(f"{arm}: evaluating {min(most, self._test.batch_size):,} examples")
            number = min(most, self._test.batch_size)
            with task.reading_data():
                self._evaluation = number, evaluate_batch(model, self._test, number)
        return TriedArm(plan, tried, self._evaluation, _notes(task, steering, tried))

    def _try_batch_size(self, arm, task, size, replicas, piece, scheduler, rates) -> Tried:
        from lbkeras.advice.dry_run_checks import check_order, check_schedule

        options, place, plan = self._options, self._place, task.plan
        share = replica_batch_size(size, replicas)
        phases = [phase for phase in plan.phases if phase.batch_size == size]
        place.stage = "schedule"
        for phase in reversed(phases):
            check_schedule(self._model, plan, phase, scheduler, rates)
        epoch = phases[0].first_epoch + phases[0].epochs // 2
        step = plan.steps_per_epoch(epoch) // 2

        place.stage = "data"
        if not task.settings["data"].get("dirichlet_alpha") and self._train.order == "a permutation":
            rows = math.gcd(step * size, _EXAMPLES_OF_ORDER) or _EXAMPLES_OF_ORDER
            with task.reading_data():
                check_order(self._train, self._train.copy(), epoch, step * size, rows)

        place.stage = "training step"
        options.say(f"{arm}: batch size {size:,}")
        with task.reading_data():
            micro, memory_mb, seconds = self._measured(task, piece, share, size, epoch, step)

        place.stage = "checkpoint"
        options.say(f"{arm}: batch size {size:,}: writing and restoring a checkpoint")
        written = self._checkpoint(arm, task, epoch, step)
        return Tried(size, replicas, micro, -(-share // micro), memory_mb, seconds, written)

    def _measured(self, task, piece, share: int, size: int, epoch: int, step: int):
        """`(micro_batch_size, memory, seconds of an update)`."""
        import numpy as np

        from lbkeras.advice.one_piece import reading_rate

        optimizer = json.dumps(task.settings["optimizer"], sort_keys=True, default=str)
        micro = self._largest(piece, share, task.num_nodes, optimizer)
        rows = piece.rows(micro, share)
        key = optimizer, micro, rows
        if key not in self._pieces:
            first = step * size
            self._reset_weights()
            piece.begin(micro, share, epoch, first if first % rows == 0 else 0)
            if not np.isfinite(piece.loss):
                raise UserError(f"loss: expected a number, received {piece.loss:g}")
            seconds = None
            if piece.examples is None:
                piece.time()
                seconds = max(piece.seconds, rows / reading_rate(self._train, rows))
            self._pieces[key] = piece.memory_mb, seconds
        memory_mb, seconds = self._pieces[key]
        replicas = self._options.strategy.num_replicas_in_sync
        return micro, memory_mb, seconds and seconds * share * replicas / rows

    def _largest(self, piece, share: int, nodes: int | None, optimizer: str) -> int:
        """The most examples at once that fit: the share, halved as `MicroBatches` does."""
        options, most = self._options, share
        if piece.examples is not None:
            return nodes * -(-piece.examples // nodes) if nodes else min(piece.examples, share)
        if options.micro_batch_size and not nodes:
            most = min(options.micro_batch_size, share)
        while most:
            known = (optimizer, most, piece.rows(most, share)) in self._pieces
            if known or piece.fits(most, share, options.say):
                return most
            if nodes:
                raise UserError(
                    f"memory: expected room for {share:,} examples at once, as nodes do not compute "
                    "in pieces, received too little"
                )
            most //= 2
        raise UserError("memory: expected room for one example a replica, received too little")

    def _reset_weights(self) -> None:
        for variable, value in zip(self._model.variables, self._initial, strict=True):
            variable.assign(value)

    def _checkpoint(self, arm: str, task, epoch: int, step: int) -> int:
        from lbkeras.advice.dry_run_checks import check_checkpoint
        from lbkeras.callbacks.checkpoint import Checkpoint
        from lbkeras.keras_internals.model import build, is_built
        from lbkeras.methods.micro_batches.callback import MicroBatches
        from lbkeras.runs.callback_list import callback_list
        from lbkeras.runs.run_spec import RunSpec

        options = self._options
        run = RunSpec(task, arm, options.seed, self._folder, config="", command="")

        def checkpoint(train):
            own = task.callbacks(
                self._folder, pipeline=train, validation=self._test, seed=options.seed
            )
            micro_batches = MicroBatches(train, run.micro_batch_size or None)
            others = callback_list(run, task.plan, train, own, micro_batches)
            return Checkpoint(self._folder / "checkpoints", train, others)

        if not is_built(self._model):
            build(self._model, self._train.element_spec)
        writing, resumed = checkpoint(self._train), checkpoint(self._train.copy())
        return check_checkpoint(self._model, writing, resumed, epoch, step)


def _notes(task, steering, tried: dict[int, Tried]) -> list[str]:
    """What was not tried of an arm, or is not as its config says."""
    notes = []
    names = [type(each).__name__ for each in steering]
    if names:
        notes.append(
            f"{' and '.join(names)} sets the learning rate while it trains, which was not tried"
        )
    ghost = task.settings["model"].get("ghost_batch_size")
    for size, each in tried.items():
        smaller = -(-each.micro_batch_size // -(-each.micro_batch_size // ghost)) if ghost else None
        if smaller and smaller < min(ghost, size // each.replicas):
            notes.append(
                f"batch size {size:,} in pieces of {each.micro_batch_size:,}: ghosts of {smaller} "
                f"examples in place of {ghost}"
            )
    return notes
