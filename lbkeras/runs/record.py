"""A run's folder: plan.json, record.json and history.jsonl, written safely and read strictly.

The files are strict JSON: a value that is not finite (the loss of a diverged epoch) is written as
`null` and read as None. `NaN` and `Infinity`, which Python's json would write, are read as None
too.
"""

import dataclasses
import errno
import json
import math
import os
from pathlib import Path
from typing import Any

from lbkeras import files, metrics
from lbkeras.derived import FORMS, derived
from lbkeras.errors import UserError
from lbkeras.runs import run_lock

RECORD_FORMAT = 1  # of record.json
# The number of test examples, for records without `test_examples`.
_TEST_EXAMPLES = {
    ("digits", "test"): 360,
    ("mnist", "test"): 10_000,
    ("fashion_mnist", "test"): 10_000,
    ("cifar10", "test"): 10_000,
    ("cifar100", "test"): 10_000,
    ("imagenet2012", "validation"): 50_000,
}
# The types of the keys of record.json, where they are present and not null.
_RECORD = {
    **dict.fromkeys(("arm", "backend", "config", "command", "strategy", "error"), str),
    **dict.fromkeys(("started", "finished"), str),
    **dict.fromkeys(("hardware", "versions", "final"), dict),
    **dict.fromkeys(("sessions", "epochs", "updates", "examples_seen", "seconds"), float),
}
STATUSES = ("finished", "diverged", "interrupted", "died", "running")


@dataclasses.dataclass(frozen=True)
class RunFolder:
    """What a run left on disk.

    Attributes:
        path: the folder.
        plan: plan.json, or `{}` if the run has not written it.
        record: record.json, or `{}` if the run has not written it.
        history: the rows of history.jsonl, one per epoch, in order.
    """

    path: Path
    plan: dict[str, Any]
    record: dict[str, Any]
    history: list[dict[str, Any]]

    @property
    def status(self) -> str:
        """`finished`, `diverged`, `interrupted`, `died`, `running`, or `not run` without a record.

        A run whose record says `running` has `died` if no live process holds its folder.
        """
        return self.record.get("status", "not run")

    def value(self, metric: str) -> float | None:
        """Returns the run's final `metric`, from the record's `final` values or the record itself.

        A derived metric (`lbkeras.derived`) is computed from the history. None if the value was not
        finite or is not defined for this run.

        Raises:
            UserError: the record does not hold that metric, or it is not a number.
        """
        final = self.record.get("final") or {}
        source = final if metric in final else self.record
        found = None if metric in source else derived(metric)
        if found and any(found.column in row for row in self.history):
            return found.compute(self.history)
        if metric not in source:
            known = sorted({*final, "examples_seen", "seconds", "updates"})
            raise UserError(
                f"{self.path / 'record.json'}: expected the metric {metric!r}, "
                f"received only {', '.join([*known, *FORMS])}"
            )
        value = source[metric]
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise UserError(
                f"{self.path / 'record.json'}: expected a number for {metric!r}, received {value!r}"
            )
        return value if math.isfinite(value) else None

    def bound(self, metric: str) -> float | None:
        """Returns what a run spent without reaching a target, a lower bound of its `value`.

        None if the metric is not about a target, or if the run was never evaluated.
        """
        found = derived(metric)
        return None if found is None else found.bound(self.history)

    def resolution(self, metric: str) -> float | None:
        """Returns the smallest change of a metric that the run can show, in the metric's unit.

        1 / examples for an accuracy; for a target what the run spends between two evaluations. None
        if it is not known.
        """
        found = derived(metric)
        if found is not None and found.target is not None:
            return found.resolution(self.history)
        examples = self.examples(metric)
        return 1 / examples if examples else None

    def examples(self, metric: str) -> int | None:
        """Returns the number of examples behind an accuracy; None if unknown or not an accuracy.

        Records before 0.2.0 do not hold the number of test examples; it is then looked up for the
        data set in config.json.
        """
        if not metrics.of(metric).is_share:
            return None
        if not metric.startswith(metrics.VALIDATION):
            number = self.plan.get("num_examples")
        elif "test_examples" in self.record:
            number = self.record["test_examples"]
        else:
            config = files.read_json_object(self.path / "config.json", missing={})
            data = config.get("data")
            data = data if isinstance(data, dict) else {}
            number = _TEST_EXAMPLES.get((str(data.get("name")), str(data.get("test_split"))))
        return number if isinstance(number, int) and number > 0 else None


def read_run(path: Path | str) -> RunFolder:
    """Reads the folder of a run; a folder or file that does not exist yet is read as empty.

    Args:
        path: the run's folder.

    Returns:
        The `RunFolder`. In a run that has not ended, an incomplete last line of the history, which
        a kill can leave, is left out.

    Raises:
        UserError: a file is malformed; the message names the file and the line.
    """
    path = Path(path)
    record = read_record(path)
    if record.get("status") == "running" and not run_lock.is_held(path):
        record = record | {"status": "died"}
    history_path = path / "history.jsonl"
    over = record.get("status") in ("finished", "diverged")
    history = _read_rows(history_path, torn_end=not over) if history_path.exists() else []
    return RunFolder(path, files.read_json_object(path / "plan.json", missing={}), record, history)


def read_history(path: Path | str) -> list[dict[str, Any]]:
    """Reads a history with one JSON object per line.

    Args:
        path: the history.jsonl file.

    Returns:
        The rows in order; values that were not finite are None.

    Raises:
        UserError: the file is missing, or a line is malformed or incomplete; the message names the
            file and the line.
    """
    return _read_rows(Path(path), torn_end=False)


def append_history_row(path: Path | str, row: dict[str, Any]) -> None:
    """Appends one epoch's row and syncs it to disk, so that a kill can damage only the last line.

    A run that resumes calls `truncate_history` first, which removes an incomplete last line.

    Args:
        path: the history.jsonl file, created if missing.
        row: the columns; values that are not finite are written as null.
    """
    line = json.dumps(_strict(row), allow_nan=False) + "\n"
    with files.named(Path(path)), open(path, "ab", buffering=0) as file:
        before = file.tell()
        try:
            if file.write(line.encode()) < len(line.encode()):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            os.fsync(file.fileno())
        except OSError:
            file.truncate(before)
            raise


def truncate_history(path: Path | str, epochs: int) -> None:
    """Keeps the rows of the first `epochs` epochs (`row["epoch"] < epochs`), atomically.

    Args:
        path: the history.jsonl file; nothing happens if it does not exist.
        epochs: the number of epochs before the checkpoint to resume from.

    Raises:
        UserError: a line is malformed, unless it is an incomplete last one.
    """
    path = Path(path)
    if not path.exists():
        return
    rows = _read_rows(path, torn_end=True)
    kept = [json.dumps(row, allow_nan=False) + "\n" for row in rows if row["epoch"] < epochs]
    files.write_atomically(path, "".join(kept).encode())


def write_record(path: Path | str, record: dict[str, Any]) -> dict[str, Any]:
    """Writes `record` as record.json in the run's folder `path`, atomically.

    Values that are not finite are written as null.

    Returns:
        The content of the file: the record with its `format`.
    """
    record = _strict({"format": RECORD_FORMAT} | record)
    files.write_json(Path(path) / "record.json", record)
    return record


def read_record(path: Path | str) -> dict[str, Any]:
    """Reads record.json in the run's folder `path`; `{}` if there is none.

    Raises:
        UserError: it is malformed, or a newer lbkeras wrote it.
    """
    source = Path(path) / "record.json"
    record = read_formatted(source, RECORD_FORMAT)
    if record and record.get("status") not in STATUSES:
        raise UserError(
            f"{source}: expected a status of {', '.join(STATUSES)}, "
            f"received {record.get('status')!r}"
        )
    files.check_types(source, record, _RECORD)
    files.check_types(source, record.get("final") or {}, float)
    return record


def read_formatted(path: Path, newest: int) -> dict[str, Any]:
    """Reads a JSON object whose `format` is at most `newest`; `{}` if there is no such file.

    Raises:
        UserError: it is malformed, or a newer lbkeras wrote it.
    """
    content = files.read_json_object(path, missing={})
    files.check_format(path, content, newest)
    return content


def _read_rows(path: Path, torn_end: bool) -> list[dict[str, Any]]:
    """Reads the rows of a history; with `torn_end`, an incomplete last line is left out."""
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise UserError(f"{path}: expected a history, found no such file") from None
    lines = content.split(b"\n")
    torn = lines.pop()  # empty if the last line is complete
    rows = [_parse_row(line, path, number) for number, line in enumerate(lines, start=1)]
    if torn:
        try:
            rows.append(_parse_row(torn, path, len(lines) + 1))
        except UserError:
            if not torn_end:
                raise
    return rows


def _parse_row(line: bytes, path: Path, number: int) -> dict[str, Any]:
    where = f"{path}, line {number}"
    row = files.parse_json_object(line.decode(errors="replace"), where, one_line=True)
    files.check_types(where, row, float)
    if not isinstance(row.get("epoch"), int):
        raise UserError(
            f"{where}: expected a whole number in 'epoch', received {row.get('epoch')!r}"
        )
    return row


def _strict(value: Any) -> Any:
    """Replaces values that are not finite by None, and NumPy scalars by Python's."""
    if isinstance(value, dict):
        return {str(key): _strict(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_strict(item) for item in value]
    if hasattr(value, "item") and not isinstance(value, (str, bytes)):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
