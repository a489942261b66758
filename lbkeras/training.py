"""Trains one arm of a config with one seed in a run folder, or goes on where it stopped."""

import contextlib
import dataclasses
import datetime
from pathlib import Path

from lbkeras import experiment, files, machine, workdir
from lbkeras.errors import UserError
from lbkeras.replication import read_history, truncate_history, write_record
from lbkeras.tensorflow_start import load_tensorflow


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
    steps_per_execution: int = 0
    checkpoint_minutes: float = 10.0
    title: str = ""
    seconds_between_lines: float = 0.0


def train(run: Run) -> dict:
    """Trains to the plan's last epoch and returns the run's record.

    Goes on from the folder's newest good checkpoint if there is one; a finished run is not touched.

    Returns:
        What record.json holds; `status` is "finished".

    Raises:
        UserError: a setting, file or data set is not usable.
        Diverged: the loss is no number; the record says so, the last good checkpoint stays.
        Interrupted: SIGINT or SIGTERM; a checkpoint is on the disk.
    """
    plan = experiment.make_plan(run.settings)
    with workdir.locked(run.folder):
        workdir.check_claim(run.folder, "config.json", _identity(run))
        record = _read_record(run.folder)
        if record.get("status") == "finished":
            return record
        return _train(run, plan, record)


def has_ended(run: Run) -> str | None:
    """The status of a run that needs no more training, "finished" or "diverged", or None.

    Raises:
        UserError: the folder holds another config's run, or a malformed record.
    """
    if not workdir.check_claim(run.folder, "config.json", _identity(run)):
        return None
    status = _read_record(run.folder).get("status")
    return status if status in ("finished", "diverged") else None


def _train(run: Run, plan, record: dict) -> dict:
    load_tensorflow()
    import keras
    import tensorflow as tf

    from lbkeras import callbacks, distribution
    from lbkeras.steps_per_execution import choose_steps_per_execution

    keras.backend.clear_session()
    keras.utils.set_random_seed(run.seed)
    pipelines = experiment.make_pipelines(
        run.settings, plan.phases[0].batch_size, run.seed, run.data_dir
    )
    train_data, test_data = pipelines
    strategy = distribution.strategy(run.strategy)
    with strategy.scope():
        model = experiment.make_model(run.settings, train_data)
        steps = 1  # more fails under MirroredStrategy
        if not isinstance(strategy, tf.distribute.MirroredStrategy):
            steps = run.steps_per_execution or choose_steps_per_execution(model, plan)
        model.compile(
            optimizer=experiment.make_optimizer(run.settings, plan),
            loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
            metrics=["accuracy"],
            steps_per_execution=steps,
        )
    # Only now, so that a folder is not taken by a config that cannot be run.
    workdir.claim(run.folder, "config.json", _identity(run), notes={"config": run.config})
    files.write_json(run.folder / "plan.json", plan.to_dict())

    history_file = run.folder / "history.jsonl"
    others = [
        callbacks.StopOnNaN(),
        callbacks.BatchSizeScheduler(train_data, plan),
        callbacks.TrainingStatistics(train_data),
        callbacks.HistoryWriter(history_file),
        callbacks.TensorBoardScalars(run.folder / "tensorboard", _hyper_parameters(run)),
        callbacks.ProgressBar(train_data, run.title, run.seconds_between_lines),
    ]
    checkpoint = callbacks.Checkpoint(
        run.folder / "checkpoints", train_data, others, run.checkpoint_minutes
    )
    stop = callbacks.StopOnSignal(checkpoint)
    first_epoch = checkpoint.restore(model)
    truncate_history(history_file, first_epoch)
    _check_history(history_file, first_epoch)
    if first_epoch:
        print(f"{run.folder}: going on at epoch {first_epoch + 1} of {plan.epochs}", flush=True)

    record = _new_record(run, model, steps, record)
    write_record(run.folder, record)
    with _recording(run, record):
        if first_epoch < plan.epochs:
            with stop.catching():
                model.fit(
                    train_data,
                    epochs=plan.epochs,
                    initial_epoch=first_epoch,
                    validation_data=test_data,
                    callbacks=[*others, checkpoint, stop],
                )
        temporary = run.folder / ".model.keras"
        model.save(temporary)
        temporary.replace(run.folder / "model.keras")
    return _close_record(run, record, "finished")


@contextlib.contextmanager
def _recording(run: Run, record: dict):
    """Writes how the run ended into its record when it does not end well."""
    from lbkeras.callbacks import Diverged, Interrupted

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


def _new_record(run: Run, model, steps: int, previous: dict) -> dict:
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
        "steps_per_execution": steps,
        "sessions": previous.get("sessions", 0) + 1,
    }


def _close_record(run: Run, record: dict, status: str, **more) -> dict:
    """Completes the record from the history that is on the disk."""
    history_file = run.folder / "history.jsonl"
    rows = read_history(history_file) if history_file.exists() else []
    last = rows[-1] if rows else {}
    metrics = ("loss", "accuracy", "val_loss", "val_accuracy")
    record = record | {
        "status": status,
        "finished": _now(),
        "epochs": len(rows),
        "updates": last.get("updates", 0),
        "examples_seen": last.get("examples_seen", 0),
        "seconds": sum(row.get("seconds") or 0.0 for row in rows),
        "final": {name: last.get(name) for name in metrics},
        **more,
    }
    write_record(run.folder, record)
    return record


def _read_record(folder: Path) -> dict:
    from lbkeras.replication.run_record import read_json_object

    return read_json_object(folder / "record.json", missing={})


def _check_history(path: Path, epochs: int) -> None:
    """Every epoch before the checkpoint must have its row."""
    rows = read_history(path) if path.exists() else []
    if [row["epoch"] for row in rows] != list(range(epochs)):
        raise UserError(
            f"{path}: expected one row for each of the {epochs} epochs that the checkpoint holds, "
            f"received {len(rows)} rows"
        )


def _identity(run: Run) -> dict:
    return {"arm": run.arm, "seed": run.seed, **run.settings}


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
