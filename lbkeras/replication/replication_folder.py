"""Reads and writes a replication's folder: replication.json and the run folders below it."""

import dataclasses
import os
from pathlib import Path
from typing import Any

from lbkeras import files
from lbkeras.derived import is_target
from lbkeras.errors import UserError
from lbkeras.replication.claims import Claim
from lbkeras.replication.reference import check_reference
from lbkeras.runs.record import RunFolder, read_formatted, read_run

REPLICATION_FORMAT = 1  # of replication.json
# The types of its values, and of those in its plans and arms, if they are there and not null.
_REPLICATION: dict[str, type] = {
    **dict.fromkeys(("title", "config", "variant", "command"), str),
    **dict.fromkeys(("dataset", "dataset_description"), str),
    **dict.fromkeys(("paper", "plans", "arms"), dict),
    **dict.fromkeys(("claims", "targets"), list),
}
_PARTS: dict[str, Any] = {
    "plans": {"updates": float, "phases": list},
    "arms": {"description": str, "paper": dict},
}
_LINE = ("alpha", "loss", "val_loss")  # columns of line_seed_N.json, besides those of metrics


@dataclasses.dataclass(frozen=True)
class ReplicationFolder:
    """A replication's folder: replication.json and the run folders it names.

    Attributes:
        path: the folder.
        replication: the content of replication.json.
        claims: its claims.
        runs: the run folders `ARM/seed_N/`, by arm and seed; empty for seeds that were not run.
    """

    path: Path
    replication: dict[str, Any]
    claims: list[Claim]
    runs: dict[str, dict[int, RunFolder]]

    def own_notes(self) -> list[str]:
        """Returns the lines of notes.txt, which a person writes and the report repeats."""
        path = self.path / "notes.txt"
        text = path.read_text(encoding="utf-8", errors="replace") if path.exists() else ""
        return [line.strip() for line in text.splitlines() if line.strip()]

    def lines(self) -> list[dict[str, Any]]:
        """Returns what `lbkeras replicate` wrote about the line between two arms, per seed.

        Raises:
            UserError: a file is malformed, or lacks a column.
        """
        lines = []
        for seed in self.replication["seeds"]:
            path = self.path / f"line_seed_{seed}.json"
            if not path.exists():
                continue
            line = files.read_json_object(path)
            if not isinstance(line.get("arms"), list) or len(line["arms"]) != 2:
                raise UserError(f"{path}: expected two 'arms', received {line.get('arms')!r}")
            for column in dict.fromkeys([*_LINE, *(name for name in line if name != "arms")]):
                values = line.get(column)
                if not isinstance(values, list) or len(values) != len(line["alpha"]):
                    raise UserError(f"{path}: expected a value of {column!r} for each alpha")
            lines.append(line)
        return lines


def read_replication_folder(path: Path | str) -> ReplicationFolder:
    """Reads replication.json and every run folder it names.

    Raises:
        UserError: replication.json is missing, a file is malformed, or a claim is unusable.
    """
    path = Path(path)
    source = path / "replication.json"
    if not source.exists():
        what = "without replication.json" if path.exists() else "that does not exist"
        raise UserError(
            f"{path}: expected a folder written by `lbkeras replicate`, received one {what}"
        )
    replication = read_replication(path)
    for key, kind in (("arms", dict), ("seeds", list)):
        value = replication.get(key)
        if not isinstance(value, kind) or not value:
            raise UserError(f"{source}: expected {key!r}, received {value!r}")
    arms = replication["arms"]
    for name in (*arms, replication.get("metric", "val_accuracy")):
        if not files.is_file_name(name):
            raise UserError(
                f"{source}: expected arms and a metric whose names are valid file names, "
                f"received {name!r}"
            )
    files.check_types(source, replication, _REPLICATION)
    files.check_types(source, replication.get("paper") or {}, str)
    for name in ("plans", "arms"):
        parts = replication.get(name) or {}
        files.check_types(source, parts, dict)
        for part in parts.values():
            files.check_types(source, part or {}, _PARTS[name])
    for plan in (replication.get("plans") or {}).values():
        for phase in (plan or {}).get("phases") or []:
            files.check_types(source, {"phases": phase}, dict)
            files.check_types(source, phase or {}, float)
    for target in replication.get("targets") or ():
        if not is_target(f"updates_to_{target}"):
            raise UserError(
                f"{source}: expected targets such as 'val_accuracy_at_least_0.9', received "
                f"{target!r}"
            )
    if replication.get("reference") is not None:
        check_reference(str(source), replication["reference"])
    seeds = replication["seeds"]
    for seed in seeds:
        whole = isinstance(seed, int) and not isinstance(seed, bool)
        if not whole or not 0 <= seed < 2**32 or seeds.count(seed) > 1:
            raise UserError(
                f"{source}: expected distinct integers from 0 to {2**32 - 1} as seeds, "
                f"received {str(seed)[:100]!r}"
            )
    try:
        claims = [Claim.from_dict(data, arms) for data in replication.get("claims") or []]
    except UserError as error:
        raise UserError(f"{source}: {error}") from None
    runs = {
        arm: {seed: read_run(path / arm / f"seed_{seed}") for seed in replication["seeds"]}
        for arm in arms
    }
    return ReplicationFolder(path, replication, claims, runs)


def check_no_run(path: Path | str, what: str = "workdir") -> None:
    """Refuses the folder of a single run, which `lbkeras train` could then not resume.

    Args:
        path: a folder for a replication; it need not exist.
        what: the name of the argument or flag to change, for the message.
    """
    if any(os.path.exists(Path(path) / name) for name in ("config.json", "record.json")):
        raise UserError(
            f"workdir {path}: expected the folder of a replication, received a single run's; "
            f"use another {what}"
        )


def write_replication(path: Path | str, replication: dict[str, Any]) -> None:
    """Writes replication.json to a replication's folder, atomically."""
    content = {"format": REPLICATION_FORMAT} | replication
    files.write_json(Path(path) / "replication.json", content)


def read_replication(path: Path | str) -> dict[str, Any]:
    """Reads replication.json from a replication's folder; `{}` if there is none.

    Raises:
        UserError: it is malformed, or a newer lbkeras wrote it.
    """
    return read_formatted(Path(path) / "replication.json", REPLICATION_FORMAT)
