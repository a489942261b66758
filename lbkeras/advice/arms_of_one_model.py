"""Tries arms that share data and model: each batch size once, at its real shapes."""

import dataclasses
import functools
import json
import math
from pathlib import Path

from lbkeras.errors import UserError
from lbkeras.methods.micro_batches.passes import passes_of
from lbkeras.planning.plan import Plan
from lbkeras.planning.replicas import replica_batch_size


@dataclasses.dataclass(frozen=True)
class Tried:
    """What one batch size of an arm takes on this machine.

    Attributes:
        batch_size: global batch size.
        replicas: number of replicas that share it, including those of other workers.
        micro_batch_size: examples that a replica computes at once.
        pieces: number of pieces of each replica's share.
        memory_mb: peak on the first device; None if it is not counted.
        seconds_per_update: of all pieces, extrapolated; None if nothing was timed.
        checkpoint_bytes: size of one checkpoint file; 0: none was written.
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
        tried: a `Tried` for each of its batch sizes.
        evaluation: examples of an evaluation batch, and examples/s.
        notes: what was not tried or differs from the config, in one line each.
    """

    plan: Plan
    tried: dict[int, Tried]
    evaluation: tuple[int, float]
    notes: list[str]

    @property
    def seconds(self) -> float | None:
        """Seconds of all updates, without evaluation; None if nothing was timed."""
        seconds = [self.phase_seconds(phase) for phase in self.plan.phases]
        return None if None in seconds else sum(seconds)

    def phase_seconds(self, phase) -> float | None:
        """Returns the seconds of all updates of a phase; None if nothing was timed."""
        steps = phase.epochs * self.plan.steps_per_epoch(phase.first_epoch)
        each = self.tried[phase.batch_size].seconds_per_update
        return each and steps * each

    @property
    def checkpoint_bytes(self) -> int:
        return max(each.checkpoint_bytes for each in self.tried.values())

    @property
    def file_bytes(self) -> int:
        """Bytes of a run's folder: two checkpoints, and the saved model, which is as large."""
        return 3 * self.checkpoint_bytes


@dataclasses.dataclass
class Place:
    """Where a dry run is, for reports of failures: arms, batch size, stage."""

    arms: list[str]
    batch_size: int | None = None
    stage: str = "data"


@dataclasses.dataclass(frozen=True)
class Options:
    """The options of a dry run, described in `dry_run`."""

    strategy: object
    budget_mb: float | None
    seed: int
    micro_batch_size: int
    num_workers: int
    examples: int | None
    say: object


class Data:
    """An arm's training and test data.

    Args:
        task: a `ConfigTask`.
        seed: of the order of the data.
    """

    def __init__(self, task, seed: int):
        self.train, self.test = task.pipelines(seed)
        self._evaluated = {}

    def evaluated(self, examples: int):
        """Returns the first `examples` of the test data as one batch."""
        if examples not in self._evaluated:
            self._evaluated[examples] = self.test.in_order(examples, examples)
        return self._evaluated[examples]

    @functools.cached_property
    def bytes_each(self) -> int:
        """Bytes of host memory of one training example, as the model receives it."""
        import tensorflow as tf

        specs = tf.nest.flatten(self.train.element_spec)
        return sum(math.prod(n or 1 for n in spec.shape[1:]) * spec.dtype.size for spec in specs)


class ArmsOfOneModel:
    """Tries arms that differ only in plan, callbacks and optimizer.

    Args:
        task: the first arm's task.
        options: of the dry run.
        folder: where checkpoints may be written.
        place: updated with what is being tried.
        data: a `Data` for each data section, shared by all arms of the dry run.
        saved: the optimizers that a checkpoint was written for, shared by all arms of the dry run.
            With pieces computed eagerly, one checkpoint per optimizer is written.
    """

    def __init__(self, task, options: Options, folder: Path, place: Place, data: dict, saved: set):
        from lbkeras.callbacks.checkpoint_contents import array_of

        self._options, self._folder, self._place, self._saved = options, folder, place, saved
        place.stage = "data"
        key = key_of([task.settings["data"], task.num_nodes, task.data_dir, task.fake_data])
        if key not in data:
            with task.reading_data():
                data[key] = Data(task, options.seed)
        self.data = data[key]
        place.stage = "model"
        options.say(f"{place.arms[0]}: making the model")
        with options.strategy.scope():
            self._model = task.model(self.data.train)
        self._weights = [array_of(variable) for variable in self._model.variables]
        # (optimizer, passes), examples per piece, examples per step -> memory and seconds
        self._pieces = {}
        self._evaluation = None

    def try_arm(self, arm: str, task) -> TriedArm:
        """Tries one arm's callbacks, evaluation and batch sizes, in the order of its plan."""
        from lbkeras.advice.one_piece import OnePiece
        from lbkeras.callbacks.batch_size_scheduler import BatchSizeScheduler
        from lbkeras.keras_internals.borrowed import give_back_all
        from lbkeras.runs.training import check_batch_sizes

        options, place, plan, model = self._options, self._place, task.plan, self._model
        train = self.data.train
        place.stage = "model"
        own = self._callbacks(task, train)
        steering = [each for each in own if getattr(each, "owns_learning_rate", False)]
        replicas = options.num_workers * options.strategy.num_replicas_in_sync
        check_batch_sizes(plan, replicas, options.micro_batch_size)
        task.compiled_model(plan, options.strategy, train, steered=bool(steering), model=model)
        with options.strategy.scope():
            model.optimizer.build(model.trainable_variables)
        piece = OnePiece(
            model, self._weights, train, options.strategy, options.budget_mb, options.examples
        )
        place.stage = "evaluation"
        if self._evaluation is None or options.examples:  # also builds loss and metrics
            self._evaluation = self._evaluate(arm, task)
        scheduler = BatchSizeScheduler(train, plan)
        scheduler.set_model(model)
        tried = {}
        try:
            for each in own:
                if getattr(each, "changes_the_step", False):
                    each.set_model(model)
            for size in dict.fromkeys(phase.batch_size for phase in plan.phases):
                place.batch_size = size
                tried[size] = self._try_batch_size(arm, task, size, piece, scheduler, steering)
        finally:
            give_back_all(model)
        return TriedArm(plan, tried, self._evaluation, _notes(task, steering, tried))

    def _callbacks(self, task, train) -> list:
        known = dict(pipeline=train, validation=self.data.test, seed=self._options.seed)
        return task.callbacks(self._folder, **known)

    def _evaluate(self, arm: str, task) -> tuple[int, float]:
        """Returns the examples of an evaluation batch, and examples/s."""
        from lbkeras.advice.one_piece import evaluation_rate

        most = self.data.test.batch_size
        number = min(self._options.examples or most, most)
        self._options.say(f"{arm}: evaluating {number:,} examples at once")
        with task.reading_data():
            return number, evaluation_rate(
                self._model,
                lambda examples: self.data.evaluated(examples or number),
                self._options.budget_mb,
            )

    def _try_batch_size(self, arm, task, size, piece, scheduler, steering) -> Tried:
        from lbkeras.advice.dry_run_checks import check_schedule

        options, place, plan = self._options, self._place, task.plan
        replicas = options.num_workers * options.strategy.num_replicas_in_sync
        share = replica_batch_size(size, replicas)
        options.say(f"{arm}: batch size {size:,}")
        phases = [phase for phase in plan.phases if phase.batch_size == size]
        place.stage = "schedule"
        for phase in reversed(phases):
            check_schedule(self._model, plan, phase, scheduler, rates=not steering)
        epoch = phases[0].first_epoch + phases[0].epochs // 2
        step = plan.steps_per_epoch(epoch) // 2

        place.stage = "training step"
        with task.reading_data():
            micro, memory_mb, seconds = self._try_pieces(task, piece, share, epoch, step * size)

        place.stage = "checkpoint"
        optimizer, written = task.settings["optimizer"]["name"], 0
        if options.examples is None or optimizer not in self._saved:
            options.say("  writing and restoring a checkpoint")
            written = self._checkpoint(arm, task, epoch, step)
            self._saved.add(optimizer)
        return Tried(size, replicas, micro, -(-share // micro), memory_mb, seconds, written)

    def _try_pieces(self, task, piece, share: int, epoch: int, first: int):
        """Returns the largest micro-batch size that fits, its memory, and seconds per update.

        Args:
            task: the arm's task.
            piece: a `OnePiece`.
            share: a replica's examples per batch.
            epoch, first: the position of the batch in the order of the data.
        """
        passes = type(passes_of(self._model)).__name__  # what a callback does with each pass
        optimizer = key_of([task.settings["optimizer"], passes])
        replicas = self._options.strategy.num_replicas_in_sync
        for micro in piece.sizes(share, self._most(task, share)):
            rows = piece.rows(micro, share)
            key, place = (optimizer, micro, rows), first if first % rows == 0 else 0
            batches = functools.partial(piece.batches, micro, share, epoch, place)
            if key not in self._pieces:
                self._options.say(f"  trying {micro:,} of {share:,} examples at once")
                if not piece.fits(micro, share, batches):
                    continue
                self._pieces[key] = piece.memory_mb, piece.seconds
                piece.release()
            self._check_order(task, batches, epoch, place + rows - 1)
            memory_mb, seconds = self._pieces[key]
            return micro, memory_mb, seconds and seconds * share * replicas / rows
        piece.release()
        if piece.is_undivided:
            raise UserError(
                f"memory: expected enough for {share:,} examples at once, as nodes do not compute "
                "in pieces, received too little"
            )
        raise UserError("memory: expected enough for one example per replica, received too little")

    def _most(self, task, share: int) -> int:
        """Returns how many examples of a replica may be computed at once."""
        nodes, examples = task.num_nodes, self._options.examples
        if nodes:
            return nodes * -(-examples // nodes) if examples else share
        return min(examples or share, self._options.micro_batch_size or share, share)

    def _check_order(self, task, batches, epoch: int, place: int) -> None:
        from lbkeras.advice.dry_run_checks import check_order

        train, of_nodes = self.data.train, task.settings["data"].get("dirichlet_alpha")
        if train.begins_anywhere and not of_nodes:
            self._place.stage = "order"
            check_order(train, batches(), epoch, place)

    def _checkpoint(self, arm: str, task, epoch: int, step: int) -> int:
        from lbkeras.advice.dry_run_checks import check_checkpoint
        from lbkeras.callbacks.checkpoint import Checkpoint
        from lbkeras.callbacks.checkpoint_contents import build_metrics
        from lbkeras.methods.micro_batches.callback import MicroBatches
        from lbkeras.runs.callback_list import callback_list
        from lbkeras.runs.run_spec import RunSpec

        run = RunSpec(task, arm, self._options.seed, self._folder, config="", command="")
        train = self.data.train

        def checkpoint(pipeline):
            own, micro_batches = self._callbacks(task, pipeline), MicroBatches(pipeline)
            others = callback_list(run, task.plan, pipeline, own, micro_batches)
            return Checkpoint(self._folder / "checkpoints", pipeline, others)

        with self._options.strategy.scope():
            build_metrics(self._model, train)
        return check_checkpoint(
            self._model, checkpoint(train), checkpoint(train.copy()), epoch, step
        )


def key_of(settings) -> str:
    """Returns a dictionary key that is equal for equal settings."""
    return json.dumps(settings, sort_keys=True, default=str)


def _notes(task, steering, tried: dict[int, Tried]) -> list[str]:
    """Returns what was not tried of an arm, or differs from its config, in one line each."""
    notes = []
    for each in steering:
        batch_size = " and the batch size" if getattr(each, "owns_batch_size", False) else ""
        notes.append(
            f"{type(each).__name__} sets the learning rate{batch_size} during training, which was "
            "not tried"
        )
    ghost = task.settings["model"].get("ghost_batch_size")
    for size, each in tried.items():
        smaller = -(-each.micro_batch_size // -(-each.micro_batch_size // ghost)) if ghost else None
        if smaller and smaller < min(ghost, size // each.replicas):
            notes.append(
                f"batch size {size:,} in pieces of {each.micro_batch_size:,}: ghosts of {smaller} "
                f"examples instead of {ghost}"
            )
    return notes
