"""Arms that share data and model: each batch size of each tried once, at its real shapes."""

import dataclasses
import functools
import json
import math
from pathlib import Path

from lbkeras.errors import UserError
from lbkeras.methods.micro_batches.passes import passes_of
from lbkeras.planning.plan import Plan
from lbkeras.planning.replicas import check_replicas, replica_batch_size


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
        checkpoint_bytes: of one file; 0: none was written.
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


@dataclasses.dataclass
class Place:
    """Where a dry run is, for what goes wrong there: arms, batch size, stage."""

    arms: list[str]
    batch_size: int | None = None
    stage: str = "data"


@dataclasses.dataclass(frozen=True)
class Options:
    """What a dry run is told, as `dry_run` describes it."""

    strategy: object
    budget_mb: float | None
    seed: int
    micro_batch_size: int
    num_workers: int
    examples: int | None
    say: object


class Data:
    """What an arm trains and is evaluated on.

    Args:
        task: a `ConfigTask`.
        seed: of the orders.
    """

    def __init__(self, task, seed: int):
        self.train, self.test = task.pipelines(seed)
        self._evaluated = {}

    def evaluated(self, examples: int):
        """The first so many examples of the test data, as one batch."""
        if examples not in self._evaluated:
            self._evaluated[examples] = self.test.in_order(examples, examples)
        return self._evaluated[examples]

    @functools.cached_property
    def bytes_each(self) -> int:
        """Host memory of a training example as the model gets it."""
        import tensorflow as tf

        specs = tf.nest.flatten(self.train.element_spec)
        return sum(math.prod(n or 1 for n in spec.shape[1:]) * spec.dtype.size for spec in specs)


class ArmsOfOneModel:
    """Arms that differ in plan, callbacks and optimizer only.

    Args:
        task: the first arm's.
        options: of the dry run.
        folder: where checkpoints may be written.
        place: kept at where this is.
        data: the `Data` of each section that says what they are; for all arms of the dry run.
        saved: the optimizers of which there has been a checkpoint, in any arm of the dry run: where
            pieces are computed eagerly there is one of each.
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
        self._pieces = {}  # optimizer, passes, examples of a piece, of a step -> memory and seconds
        self._evaluation = None

    def try_arm(self, arm: str, task) -> TriedArm:
        """Everything of one arm, its batch sizes in the order in which they come."""
        from lbkeras.advice.one_piece import OnePiece
        from lbkeras.callbacks.batch_size_scheduler import BatchSizeScheduler
        from lbkeras.keras_internals.borrowed import give_back_all

        options, place, plan, model = self._options, self._place, task.plan, self._model
        train = self.data.train
        place.stage = "model"
        own = self._callbacks(task, train)
        steering = [each for each in own if getattr(each, "owns_learning_rate", False)]
        check_replicas(plan, options.num_workers * options.strategy.num_replicas_in_sync)
        task.compiled_model(plan, options.strategy, train, steered=bool(steering), model=model)
        with options.strategy.scope():
            model.optimizer.build(model.trainable_variables)
        piece = OnePiece(
            model, self._weights, train, options.strategy, options.budget_mb, options.examples
        )
        place.stage = "evaluation"
        if self._evaluation is None or options.examples:  # it builds loss and metrics, too
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
        """The examples of a batch of the evaluation, and examples/s."""
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
        """`(micro_batch_size, memory, seconds of an update)`: the most that fits, as it is timed.

        Args:
            task: the arm's.
            piece: a `OnePiece`.
            share: a replica's examples of a batch.
            epoch, first: the place of the batch in the order.
        """
        passes = type(passes_of(self._model)).__name__  # of which a step is made
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
                f"memory: expected room for {share:,} examples at once, as nodes do not compute in "
                "pieces, received too little"
            )
        raise UserError("memory: expected room for one example a replica, received too little")

    def _most(self, task, share: int) -> int:
        """Examples of a replica that may be computed at once."""
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
    """Settings as a key: the same for the same."""
    return json.dumps(settings, sort_keys=True, default=str)


def _notes(task, steering, tried: dict[int, Tried]) -> list[str]:
    """What was not tried of an arm, or is not as its config says."""
    notes = []
    for each in steering:
        batch_size = " and the batch size" if getattr(each, "owns_batch_size", False) else ""
        notes.append(
            f"{type(each).__name__} sets the learning rate{batch_size} while it trains, which was "
            "not tried"
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
