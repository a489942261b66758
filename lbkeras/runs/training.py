"""Trains one arm of a config with one seed in a run folder, or goes on where it stopped."""

import contextlib
import dataclasses
import datetime
import tempfile
from pathlib import Path

from lbkeras import files
from lbkeras.errors import UserError, one_line
from lbkeras.keras_internals.tensorflow_start import load_tensorflow
from lbkeras.metrics import COLUMNS, FINALS
from lbkeras.planning.replicas import check_replicas
from lbkeras.runs import build, experiment, lock, machine
from lbkeras.runs.record import read_history, read_record, truncate_history, write_record


@dataclasses.dataclass(frozen=True)
class Run:
    """What identifies a run and where it goes.

    Attributes:
        settings: the arm's sections, from `experiment.arm_settings`.
        arm: its name.
        seed: of initialization, order and augmentation.
        folder: the run's folder.
        config: the config as the user named it, FILE[:VARIANT].
        command: the command that started it, for the record.
        references: the papers it replicates.
        data_dir: where prepared TFDS data lie.
        strategy: a name for `lbkeras.distribution.strategy`.
        micro_batch_size: examples that a replica computes at once; 0: its whole share of a batch,
            halved when memory runs out.
        steps_per_execution: updates in one call of the graph; 0: chosen.
        checkpoint_minutes: the longest time unsaved inside an epoch.
        title: shown before each line of progress.
        seconds_between_lines: of progress, at least; 0: a line an epoch.
    """

    settings: dict
    arm: str
    seed: int
    folder: Path
    config: str
    command: str
    references: tuple[str, ...] = ()
    data_dir: str | None = None
    strategy: str = "auto"
    micro_batch_size: int = 0
    steps_per_execution: int = 0
    checkpoint_minutes: float = 10.0
    title: str = ""
    seconds_between_lines: float = 0.0


def train(run: Run, workers=None) -> dict:
    """Trains to the plan's last epoch and returns the run's record.

    Goes on from the folder's newest good checkpoint if there is one; a finished run is not touched.
    Where several workers train together, only the chief holds and writes the folder; all of them
    read its checkpoints.

    Args:
        run: what to train, the same in every worker.
        workers: the `lbkeras.distribution.workers.Workers` that train together; None: this process
            alone.

    Returns:
        What record.json holds; `status` is "finished".

    Raises:
        UserError: a setting, file or data set is not usable, or memory does not suffice.
        Diverged: the loss is no number; the record says so, the last good checkpoint stays.
        Interrupted: SIGINT or SIGTERM; a checkpoint is on the disk.
    """
    plan = experiment.make_plan(run.settings)
    chief = workers is None or workers.is_chief
    held = lock.locked(run.folder) if chief else contextlib.nullcontext(lambda: None)
    with held as check_held:
        record = None
        if chief:
            lock.check_claim(run.folder, "config.json", identity(run))
            record = read_record(run.folder)
        if workers is not None:
            record = workers.share(record)
        if record.get("status") == "finished":
            return record
        return _train(run, plan, record, check_held)


def has_ended(run: Run) -> str | None:
    """The status of a run that needs no more training, "finished" or "diverged", or None.

    Raises:
        UserError: the folder holds another config's run, or a malformed record.
    """
    if not lock.check_claim(run.folder, "config.json", identity(run)):
        return None
    status = read_record(run.folder).get("status")
    return status if status in ("finished", "diverged") else None


def identity(run: Run) -> dict:
    """What a run's folder, and every worker's command, must agree on."""
    return {"arm": run.arm, "seed": run.seed, **run.settings}


def _train(run: Run, plan, record: dict, check_held) -> dict:
    load_tensorflow()
    import keras

    from lbkeras.callbacks.batch_size_scheduler import BatchSizeScheduler
    from lbkeras.callbacks.checkpoint import Checkpoint
    from lbkeras.callbacks.progress_bar import ProgressBar
    from lbkeras.callbacks.stop_on_nan import StopOnNaN
    from lbkeras.callbacks.stop_on_signal import StopOnSignal
    from lbkeras.callbacks.tensorboard import TensorBoardScalars
    from lbkeras.callbacks.training_statistics import TrainingStatistics
    from lbkeras.distribution.agreement import is_chief
    from lbkeras.distribution.strategy import describe
    from lbkeras.distribution.strategy import strategy as make_strategy
    from lbkeras.methods.batch_statistics.average_statistics import AverageStatistics
    from lbkeras.methods.decentralized.consensus_distance import ConsensusDistance
    from lbkeras.methods.micro_batches.callback import MicroBatches
    from lbkeras.methods.micro_batches.train_step import check_micro_batch_size
    from lbkeras.runs.history_writer import HistoryWriter

    strategy = make_strategy(run.strategy)  # several workers: before any other operation
    check_replicas(plan, strategy.num_replicas_in_sync)
    largest = max(phase.batch_size for phase in plan.phases) // strategy.num_replicas_in_sync
    check_micro_batch_size(run.micro_batch_size or None, largest)
    chief = is_chief(strategy)
    if chief and not run.seconds_between_lines:
        print(f"strategy: {describe(strategy)}", flush=True)
    keras.backend.clear_session()
    keras.utils.set_random_seed(run.seed)
    train_data, test_data = build.make_pipelines(
        run.settings, plan.phases[0].batch_size, run.seed, run.data_dir
    )
    chosen = build.make_callbacks(
        run.settings,
        run.folder,
        pipeline=train_data,
        validation=test_data,
        plan=plan,
        seed=run.seed,
    )
    steered = any(getattr(each, "owns_learning_rate", False) for each in chosen)
    batch_size = [each for each in chosen if getattr(each, "owns_batch_size", False)]
    with _memory(run, "model.name"):
        model = _compiled_model(run, plan, strategy, train_data, steered)
    if chief:  # only now, so that a folder is not taken by a config that cannot be run
        lock.claim(run.folder, "config.json", identity(run), notes={"config": run.config})
        files.write_json(run.folder / "plan.json", plan.to_dict())

    nodes = experiment.num_nodes(run.settings)
    micro_batches = MicroBatches(
        train_data, run.micro_batch_size or None, file=run.folder / "micro_batch.json"
    )
    others = [
        StopOnNaN(),
        *(batch_size or [BatchSizeScheduler(train_data, plan)]),
        *([] if nodes and not run.micro_batch_size else [micro_batches]),
        AverageStatistics(),
        *(each for each in chosen if each not in batch_size),
        TrainingStatistics(train_data),
        *([ConsensusDistance()] if nodes else []),
        HistoryWriter(run.folder / "history.jsonl"),
        TensorBoardScalars(run.folder / "tensorboard", _hyper_parameters(run)),
        ProgressBar(train_data, run.title, run.seconds_between_lines),
    ]
    checkpoint = Checkpoint(run.folder / "checkpoints", train_data, others, run.checkpoint_minutes)
    stop = StopOnSignal(checkpoint)
    first_epoch = checkpoint.restore(model)
    if chief:
        _go_on(run, plan, first_epoch)
        record = _new_record(run, model, strategy, record)
        record["micro_batch_size"] = run.micro_batch_size or None
        record["test_examples"] = test_data.num_examples
        write_record(run.folder, record)
    still_ours = keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: check_held())
    with _recording(run, record, check_held) if chief else contextlib.nullcontext():
        if first_epoch < plan.epochs:
            reading = build.reading_data(run.settings)
            with stop.catching(), _memory(run, "data.test_batch_size"), reading:
                model.fit(
                    train_data,
                    epochs=plan.epochs,
                    initial_epoch=first_epoch,
                    validation_data=test_data,
                    callbacks=[still_ours, *others, checkpoint, stop],
                    verbose="auto" if chief else 0,
                )
        _save(model, run.folder, chief)
    if not chief:
        return record
    return _close_record(run, record, "finished", micro_batch_size=micro_batches.micro_batch_size)


def _compiled_model(run: Run, plan, strategy, train_data, steered: bool):
    import keras

    from lbkeras.runs.steps_per_execution import choose_steps_per_execution

    with strategy.scope():
        model = build.make_model(run.settings, train_data)
        model.compile(
            optimizer=build.make_optimizer(run.settings, plan, steered),
            loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
            metrics=["accuracy"],
            steps_per_execution=run.steps_per_execution or choose_steps_per_execution(model, plan),
        )
    return model


def _go_on(run: Run, plan, first_epoch: int) -> None:
    """Brings the history to the epoch that the checkpoint goes on with, and says so."""
    history_file = run.folder / "history.jsonl"
    truncate_history(history_file, first_epoch)
    _check_history(history_file, first_epoch)
    if first_epoch:
        print(f"{run.folder}: going on at epoch {first_epoch + 1} of {plan.epochs}", flush=True)


def _save(model, folder: Path, chief: bool) -> None:
    """Writes model.keras; all workers must call it: it reads what differs between replicas."""
    if chief:
        path, temporary = folder / "model.keras", folder / ".model.keras"
        with files.named(path):
            try:
                model.save(temporary)
                temporary.replace(path)
            finally:
                temporary.unlink(missing_ok=True)
    else:
        with tempfile.TemporaryDirectory() as nowhere:
            model.save(Path(nowhere) / "model.keras")


@contextlib.contextmanager
def _memory(run: Run, key: str):
    """Turns what runs out of memory outside the training step into the user's error.

    Args:
        run: the run.
        key: the setting that is at fault, unless it is the copy of the training data.
    """
    import tensorflow as tf

    try:
        yield
    except tf.errors.ResourceExhaustedError as error:
        reason = next((line for line in error.message.splitlines() if "OOM" in line), None)
        if reason is None:  # of a disk
            raise
        if f"shape[{run.settings['data']['num_examples']}," in reason:
            key = "data.num_examples"
        section, name = key.split(".")
        raise UserError(
            f"{key}: expected one that fits in memory, received {run.settings[section][name]!r}; "
            f"lower what it needs, or --micro_batch_size, or give more memory ({reason})"
        ) from error


@contextlib.contextmanager
def _recording(run: Run, record: dict, check_held):
    """Writes how the run ended into its record when it does not end well."""
    from lbkeras.callbacks.stop_on_nan import Diverged
    from lbkeras.callbacks.stop_on_signal import Interrupted

    try:
        yield
    except Diverged as error:
        checkpoints = sorted((run.folder / "checkpoints").glob("*.npz"))
        kept = f"the last good checkpoint is {checkpoints[-1]}" if checkpoints else "none was saved"
        message = f"{error}; {kept}; lower the learning rate or warm up"
        _close_record(run, record, "diverged", error=message)
        raise Diverged(message) from None
    except (Interrupted, KeyboardInterrupt):
        _close_record(run, record, "interrupted")
        raise
    except Exception as error:
        check_held()
        message = one_line(str(error))[:500]
        with contextlib.suppress(OSError, UserError):  # the disk may be what is at fault
            _close_record(run, record, "died", error=message)
        raise


def _new_record(run: Run, model, strategy, previous: dict) -> dict:
    from lbkeras.distribution.agreement import num_workers
    from lbkeras.distribution.strategy import describe

    return {
        "status": "running",
        "arm": run.arm,
        "seed": run.seed,
        "config": run.config,
        "command": run.command,
        "references": list(run.references),
        "versions": machine.versions(),
        "hardware": machine.hardware(),
        "started": previous.get("started") or _now(),
        "finished": None,
        "parameters": model.count_params(),
        "steps_per_execution": model.steps_per_execution,
        "strategy": describe(strategy),
        "replicas": strategy.num_replicas_in_sync,
        "workers": num_workers(strategy),
        "sessions": previous.get("sessions", 0) + 1,
    }


def _close_record(run: Run, record: dict, status: str, **more) -> dict:
    """Completes the record from the history that is on the disk."""
    history_file = run.folder / "history.jsonl"
    rows = read_history(history_file) if history_file.exists() else []
    last = rows[-1] if rows else {}
    measured = [name for name in last if "/" not in name and name not in ("epoch", *COLUMNS)]
    record = record | {
        "status": status,
        "finished": _now(),
        "epochs": len(rows),
        "updates": last.get("updates", 0),
        "examples_seen": last.get("examples_seen", 0),
        "seconds": sum(row.get("seconds") or 0.0 for row in rows),
        "final": {name: last.get(name) for name in (*FINALS, *measured)},
        **more,
    }
    return write_record(run.folder, record)


def _check_history(path: Path, epochs: int) -> None:
    """Every epoch before the checkpoint must have its row."""
    rows = read_history(path) if path.exists() else []
    if [row["epoch"] for row in rows] != list(range(epochs)):
        raise UserError(
            f"{path}: expected one row for each of the {epochs} epochs that the checkpoint holds, "
            f"received {len(rows)} rows"
        )


def _hyper_parameters(run: Run) -> dict:
    """The settings as flat names for TensorBoard's HParams tab."""
    flat = {"arm": run.arm, "seed": run.seed}
    for section, values in run.settings.items():
        for name, value in values.items():
            if value is not None:
                plain = isinstance(value, bool | int | float | str)
                flat[f"{section}.{name}"] = value if plain else str(value)
    return flat


def _now() -> str:
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
