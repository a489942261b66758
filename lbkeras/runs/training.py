"""Trains one arm with one seed in a run folder, or resumes the run there."""

import contextlib
import tempfile
from pathlib import Path

from lbkeras import files
from lbkeras.errors import UserError
from lbkeras.keras_internals.backend_start import backend_name, load_backend
from lbkeras.keras_internals.out_of_memory import out_of_memory
from lbkeras.planning.replicas import check_replicas
from lbkeras.runs import run_lock
from lbkeras.runs.record import read_record, truncate_history, write_record
from lbkeras.runs.recording import check_history, close_record, new_record, recording
from lbkeras.runs.run_spec import RunSpec, run_settings
from lbkeras.runs.train_section import evaluated_epochs, keras_session


def train(run: RunSpec, workers=None) -> dict:
    """Trains to the plan's last epoch and returns the run's record.

    Resumes from the folder's newest good checkpoint if there is one; a finished run is not touched.
    If several workers train together, only the chief locks and writes the folder; all of them read
    its checkpoints.

    Args:
        run: what to train, the same in every worker.
        workers: the `lbkeras.distribution.workers.Workers` that train together; None if this
            process trains alone.

    Returns:
        The content of record.json; `status` is "finished".

    Raises:
        UserError: a setting, file or data set is not usable, or there is not enough memory.
        Diverged: the loss is not finite; the record says so, and the last good checkpoint stays.
        Interrupted: SIGINT or SIGTERM arrived; a checkpoint is on disk.
    """
    plan = run.task.plan
    chief = workers is None or workers.is_chief
    held = run_lock.locked(run.folder) if chief else contextlib.nullcontext(lambda: None)
    with held as check_held:
        record = None
        if chief:
            run_lock.check_claim(run.folder, "config.json", _claimed(run))
            record = read_record(run.folder)
            _check_backend(run, record)
        if workers is not None:
            record = workers.share(record)
        if record.get("status") == "finished":
            return record
        return _train(run, plan, record, check_held)


def _claimed(run: RunSpec) -> dict:
    """Returns what must be the same to resume a folder: the settings and the code they name."""
    code = run.task.own_code()
    return run_settings(run) | ({"own_code": code} if code else {})


def _check_backend(run: RunSpec, record: dict) -> None:
    """Refuses a run that was begun on another backend."""
    if not record:
        return
    written, received = record.get("backend", "tensorflow"), backend_name()  # 0.1.0 had no other
    if written != received:
        raise UserError(
            f"workdir {run.folder}: expected Keras' {written} backend, on which its run began "
            f"(KERAS_BACKEND={written}), received {received}; use another --workdir"
        )


def has_ended(run: RunSpec) -> str | None:
    """Returns "finished" or "diverged" for a run that has ended, else None.

    Raises:
        UserError: the folder holds a run of another config or backend, or a malformed record.
    """
    if not run_lock.check_claim(run.folder, "config.json", _claimed(run)):
        return None
    record = read_record(run.folder)
    _check_backend(run, record)
    status = record.get("status")
    return status if status in ("finished", "diverged") else None


def _train(run: RunSpec, plan, record: dict, check_held) -> dict:
    load_backend()
    strategy = _start_strategy(run, plan)
    with keras_session(run.task.settings, run.seed):
        return _train_in_session(run, plan, strategy, record, check_held)


def _train_in_session(run: RunSpec, plan, strategy, record: dict, check_held) -> dict:
    import keras

    from lbkeras.callbacks.checkpoint import Checkpoint
    from lbkeras.callbacks.stop_on_signal import StopOnSignal
    from lbkeras.distribution.agreement import is_chief
    from lbkeras.methods.micro_batches.callback import MicroBatches
    from lbkeras.runs.callback_list import callback_list

    chief = is_chief(strategy)
    train_data, test_data = run.task.pipelines(run.seed)
    chosen = run.task.callbacks(
        run.folder, pipeline=train_data, validation=test_data, seed=run.seed
    )
    with _memory(run, "model"):
        model = run.task.compiled_model(
            plan,
            strategy,
            train_data,
            steered=any(getattr(each, "owns_learning_rate", False) for each in chosen),
        )
    if chief:  # only now, so that a config that cannot run does not claim the folder
        run_lock.claim(run.folder, "config.json", _claimed(run), notes={"config": run.config})
        files.write_json(run.folder / "plan.json", plan.to_dict())

    micro_batches = MicroBatches(
        train_data,
        run.micro_batch_size or _pieces(chosen, strategy),
        file=run.folder / "micro_batch.json",
    )
    others = callback_list(run, plan, train_data, chosen, micro_batches)
    checkpoint = Checkpoint(run.folder / "checkpoints", train_data, others, run.checkpoint_minutes)
    stop = StopOnSignal(checkpoint)
    first_epoch = checkpoint.restore(model)
    if chief:
        _go_on(run, plan, first_epoch)
        record = new_record(run, model, strategy, test_data, record)
        write_record(run.folder, record)
    still_ours = keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: check_held())
    with recording(run, record, check_held) if chief else contextlib.nullcontext():
        if first_epoch < plan.epochs:
            reading = run.task.reading_data()
            with stop.catching(), _memory(run, "test_batch_size"), reading:
                model.fit(
                    train_data,
                    epochs=plan.epochs,
                    initial_epoch=first_epoch,
                    validation_data=test_data,
                    validation_freq=evaluated_epochs(run.task.settings, model, plan.epochs),
                    callbacks=[still_ours, *others, checkpoint, stop],
                    verbose="auto" if chief else 0,
                )
        model.optimizer.finalize_variable_values(model.trainable_variables)  # the averages, if any
        _save(model, run.folder, chief)
    if not chief:
        return record
    return close_record(run, record, "finished", micro_batch_size=micro_batches.micro_batch_size)


def _pieces(chosen: list, strategy) -> int | None:
    """Returns the micro-batch size with which a callback measures without replicas, or None."""
    if strategy.num_replicas_in_sync > 1:
        return None
    sizes = (getattr(each, "micro_batch_size", None) for each in chosen)
    return next(filter(None, sizes), None)


def _start_strategy(run: RunSpec, plan):
    """Makes the run's strategy; with several workers, before any other TensorFlow operation."""
    from lbkeras.distribution.agreement import is_chief
    from lbkeras.distribution.strategy import describe
    from lbkeras.distribution.strategy import strategy as make_strategy

    strategy = make_strategy(run.strategy)
    check_batch_sizes(plan, strategy.num_replicas_in_sync, run.micro_batch_size)
    if is_chief(strategy) and not run.seconds_between_lines:
        print(f"strategy: {describe(strategy)}", flush=True)
    return strategy


def check_batch_sizes(plan, num_replicas: int, micro_batch_size: int) -> None:
    """Checks a plan's batch sizes against the replicas and the micro-batch size.

    Args:
        plan: a `Plan`.
        num_replicas: replicas of all workers together.
        micro_batch_size: examples that a replica computes at once; 0: its whole share of a batch.

    Raises:
        UserError: a phase's batch size is not a multiple of the replicas, or no replica ever has
            as many examples as the micro-batch size.
    """
    from lbkeras.methods.micro_batches.train_step import check_micro_batch_size

    check_replicas(plan, num_replicas)
    largest = max(phase.batch_size for phase in plan.phases) // num_replicas
    check_micro_batch_size(micro_batch_size or None, largest)


def _go_on(run: RunSpec, plan, first_epoch: int) -> None:
    """Truncates the history to the epoch at which the run resumes, and prints that epoch."""
    history_file = run.folder / "history.jsonl"
    truncate_history(history_file, first_epoch)
    check_history(history_file, first_epoch)
    if first_epoch:
        print(f"{run.folder}: resuming at epoch {first_epoch + 1} of {plan.epochs}", flush=True)


def _save(model, folder: Path, chief: bool) -> None:
    """Writes model.keras; all workers must call it, as it reads what differs between replicas.

    A subclassed model without `get_config`, which Keras could not make again, is saved as
    model.weights.h5.
    """
    with contextlib.nullcontext(folder) if chief else tempfile.TemporaryDirectory() as place:
        try:
            _write(model.save, Path(place), "model.keras")
        except NotImplementedError:
            _write(model.save_weights, Path(place), "model.weights.h5")


def _write(save, folder: Path, name: str) -> None:
    path, temporary = folder / name, folder / f".{name}"
    with files.named(path):
        try:
            save(temporary)
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def _memory(run: RunSpec, key: str):
    """Turns running out of memory outside the training step into a `UserError`.

    Args:
        run: the run.
        key: the task's setting to blame, unless the copy of the training data is the cause.
    """
    try:
        yield
    except Exception as error:
        reason = out_of_memory(error)
        if reason is None:
            raise
        if f"shape[{run.task.plan.num_examples}," in reason:
            key = "num_examples"
        name, value = run.task.setting(key)
        raise UserError(
            f"{name}: expected one that fits in memory, received {value!r}; "
            f"reduce what it needs, lower --micro_batch_size, or provide more memory ({reason})"
        ) from error
