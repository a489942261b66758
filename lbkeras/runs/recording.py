"""Writes the record of a run when the run starts and when it ends, however it ends."""

import contextlib
import datetime
import math
from pathlib import Path

from lbkeras.errors import UserError, one_line
from lbkeras.metrics import COLUMNS, FINALS, PARAMETERS, VALIDATION
from lbkeras.runs import machine
from lbkeras.runs.record import read_history, write_record
from lbkeras.runs.run_spec import RunSpec


@contextlib.contextmanager
def recording(run: RunSpec, record: dict, check_held):
    """Writes into the record how the run ended, if it does not finish."""
    from lbkeras.callbacks.stop_on_nan import Diverged
    from lbkeras.callbacks.stop_on_signal import Interrupted

    try:
        yield
    except Diverged as error:
        checkpoints = sorted((run.folder / "checkpoints").glob("*.npz"))
        kept = f"the last good checkpoint is {checkpoints[-1]}" if checkpoints else "none was saved"
        message = f"{error}; {kept}; lower the learning rate or warm up"
        close_record(run, record, "diverged", error=message)
        raise Diverged(message) from None
    except (Interrupted, KeyboardInterrupt):
        close_record(run, record, "interrupted")
        raise
    except Exception as error:
        check_held()
        message = one_line(str(error))[:500]
        with contextlib.suppress(OSError, UserError):  # the disk may be the cause
            close_record(run, record, "died", error=message)
        raise


def new_record(run: RunSpec, model, strategy, test_data, previous: dict) -> dict:
    from lbkeras.distribution.agreement import num_workers
    from lbkeras.distribution.strategy import describe
    from lbkeras.keras_internals.backend_start import backend_name

    return {
        "status": "running",
        "arm": run.arm,
        "seed": run.seed,
        "config": run.config,
        "command": run.command,
        "references": list(run.references),
        "backend": backend_name(),
        "versions": machine.versions(),
        "hardware": machine.hardware(),
        "started": previous.get("started") or _now(),
        "finished": None,
        "parameters": model.count_params(),
        PARAMETERS: sum(math.prod(variable.shape) for variable in model.trainable_variables),
        "steps_per_execution": model.steps_per_execution,
        "strategy": describe(strategy),
        "replicas": strategy.num_replicas_in_sync,
        "workers": num_workers(strategy),
        "sessions": previous.get("sessions", 0) + 1,
        "micro_batch_size": run.micro_batch_size or None,
        "test_examples": test_data.num_examples,
    }


def close_record(run: RunSpec, record: dict, status: str, **more) -> dict:
    """Completes the record from the history on disk, and writes it."""
    history_file = run.folder / "history.jsonl"
    rows = read_history(history_file) if history_file.exists() else []
    last = rows[-1] if rows else {}
    evaluated = next((row for row in reversed(rows) if any(map(_is_unseen, row))), {})
    last = last | {name: evaluated[name] for name in filter(_is_unseen, evaluated)}
    measured = [name for name in last if "/" not in name and name not in ("epoch", *COLUMNS)]
    record = record | {
        "status": status,
        "finished": _now(),
        "epochs": len(rows),
        "updates": last.get("updates", 0),
        "examples_seen": last.get("examples_seen", 0),
        "seconds": sum(row.get("seconds") or 0.0 for row in rows),
        "final": {name: last[name] for name in (*FINALS, *measured) if name in last},
        **more,
    }
    return write_record(run.folder, record)


def check_history(path: Path, epochs: int) -> None:
    """Refuses a history without a row for every epoch before the checkpoint."""
    rows = read_history(path) if path.exists() else []
    if [row["epoch"] for row in rows] != list(range(epochs)):
        raise UserError(
            f"{path}: expected one row for each of the {epochs} epochs that the checkpoint holds, "
            f"received {len(rows)} rows"
        )


def _is_unseen(name: str) -> bool:
    return name.startswith(VALIDATION)


def _now() -> str:
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
