"""The folder of a replication: what was compared, and the run folders below it."""

import dataclasses
from pathlib import Path
from typing import Any

from lbkeras import files
from lbkeras.errors import UserError
from lbkeras.replication.claims import Claim
from lbkeras.replication.run_record import RunFolder, read_formatted, read_run

REPLICATION_FORMAT = 1  # of replication.json


@dataclasses.dataclass(frozen=True)
class Workdir:
    """A replication's folder: replication.json and the run folders it names.

    Attributes:
        path: the folder.
        replication: replication.json.
        claims: its claims.
        runs: the run folders by arm and seed, `ARM/seed_N/`; those not run are empty.
    """

    path: Path
    replication: dict[str, Any]
    claims: list[Claim]
    runs: dict[str, dict[int, RunFolder]]

    def own_notes(self) -> list[str]:
        """What a person wrote in notes.txt, a note a line; the report repeats it."""
        path = self.path / "notes.txt"
        text = path.read_text(encoding="utf-8", errors="replace") if path.exists() else ""
        return [line.strip() for line in text.splitlines() if line.strip()]


def read_workdir(path: Path | str) -> Workdir:
    """Reads replication.json and every run folder it names.

    Raises:
        UserError: replication.json is missing, a file is malformed, or a claim is unusable.
    """
    path = Path(path)
    source = path / "replication.json"
    if not source.exists():
        raise UserError(
            f"{path}: expected a folder written by `lbkeras replicate`, found no replication.json"
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
                f"{source}: expected arms and a metric whose names can be those of files, "
                f"received {name!r}"
            )
    for section in ("paper", "plans", "arms"):
        value = replication.get(section)
        parts = [] if section == "paper" or not isinstance(value, dict) else value.values()
        for part in (value, *parts):
            if part is not None and not isinstance(part, dict):
                raise UserError(f"{source}: expected objects in {section!r}, received {part!r}")
    if not isinstance(replication.get("claims") or [], list):
        raise UserError(f"{source}: expected a list of claims, received {replication['claims']!r}")
    for seed in replication["seeds"]:
        if not isinstance(seed, int):
            raise UserError(f"{source}: expected whole numbers as seeds, received {seed!r}")
    claims = [Claim.from_dict(data, arms) for data in replication.get("claims") or []]
    runs = {
        arm: {seed: read_run(path / arm / f"seed_{seed}") for seed in replication["seeds"]}
        for arm in arms
    }
    return Workdir(path, replication, claims, runs)


def write_replication(path: Path | str, replication: dict[str, Any]) -> None:
    """Writes replication.json in a replication's folder, atomically."""
    content = {"format": REPLICATION_FORMAT} | replication
    files.write_json(Path(path) / "replication.json", content)


def read_replication(path: Path | str) -> dict[str, Any]:
    """Reads replication.json in a replication's folder; `{}` if there is none.

    Raises:
        UserError: it is malformed, or a newer lbkeras wrote it.
    """
    return read_formatted(Path(path) / "replication.json", REPLICATION_FORMAT)
