"""Keeps the small files of a replication, which are enough to report it again years later.

python -m lbkeras.replication.keep WORKDIR... [--results=results] [--unfinished]

Copies the files that a report reads to results/NAME, where NAME is the name of the WORKDIR:
replication.json, notes.txt and line_seed_N.json, and from each run config.json, plan.json,
record.json, history.jsonl and auto_wu.json. Checkpoints, weights, TensorBoard files and pictures
are not copied.
"""

import argparse
import json
import re
import shlex
import sys
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from lbkeras import files
from lbkeras.errors import UserError
from lbkeras.replication.replication_folder import (
    ReplicationFolder,
    read_replication,
    read_replication_folder,
)
from lbkeras.runs.record import RunFolder

_RUN_FILES = ("config.json", "plan.json", "record.json", "auto_wu.json")  # and the history
_PLACE = re.compile(r"""(?<![^\s=('"`,])~?/[^\s'"`,;)/][^\s'"`,;)]*""")  # not a URL, not `a / b`


def keep_results(
    workdir: Path | str, results: Path | str = "results", unfinished: bool = False
) -> Path:
    """Copies a replication's small files to `results`, replacing an earlier copy.

    Absolute paths are cut to their last part and the addresses of workers are left out, as both
    say more about the machine than about the result. The earlier copy stays until everything is
    copied. Its notes.txt is kept if the workdir has none.

    Args:
        workdir: the folder that `lbkeras replicate` wrote.
        results: the parent of the copy, created if needed; the copy has the workdir's name.
        unfinished: keep the replication even if some of its runs have not ended.

    Returns:
        The copy, `results/NAME`.

    Raises:
        UserError: the folder holds no replication, a file in it is malformed, a run has not
            ended, or another replication is already kept under that name.
    """
    source = read_replication_folder(workdir)
    kept = Path(results) / source.path.resolve().name
    if not unfinished:
        _check_ended(source)
    _check_title(source, kept)
    kept.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=kept.parent, prefix=f".{kept.name}.") as temporary:
        copy = Path(temporary) / "new"
        _copy(source, copy, notes_before=kept / "notes.txt")
        if kept.exists():
            kept.rename(Path(temporary) / "old")
        copy.rename(kept)
    return kept


def without_places(value: Any) -> Any:
    """Replaces each absolute path in the texts of a file's content by `.../NAME`.

    >>> without_places({"error": "loss was NaN; see /home/me/runs/a.npz; lower the rate"})
    {'error': 'loss was NaN; see .../a.npz; lower the rate'}
    >>> without_places({"command": "lbkeras train '--workdir=/my home/a' --workers=10.0.0.1:2"})
    {'command': 'lbkeras train --workdir=.../a --workers=...'}
    """
    if isinstance(value, dict):
        return {
            key: _clean_command(item)
            if key == "command" and isinstance(item, str)
            else without_places(item)
            for key, item in value.items()
        }
    if isinstance(value, list):
        return [without_places(item) for item in value]
    if isinstance(value, str) and "/" in value:  # a quick look: a history has many megabytes
        return _PLACE.sub(lambda found: _shortened(found.group()), value)
    return value


def main(arguments: Sequence[str] | None = None) -> int:
    """Keeps the replications, up to the first that cannot be kept; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m lbkeras.replication.keep")
    parser.add_argument("workdirs", nargs="+", metavar="WORKDIR")
    parser.add_argument("--results", default="results", help="the folder to keep them in")
    parser.add_argument(
        "--unfinished", action="store_true", help="also keep those with runs that have not ended"
    )
    options = parser.parse_args(arguments)
    try:
        for workdir in options.workdirs:
            print(keep_results(workdir, options.results, options.unfinished))
    except UserError as error:
        print(f"lbkeras: error: {error}", file=sys.stderr)
        return 2
    return 0


def _check_ended(source: ReplicationFolder) -> None:
    others = [
        f"{arm} seed {seed} ({run.status})"
        for arm, runs in source.runs.items()
        for seed, run in runs.items()
        if run.status not in ("finished", "diverged")
    ]
    if others:
        raise UserError(
            f"{source.path}: expected runs that have ended, received {len(others)} that have not, "
            f"the first of them {others[0]}; repeat the replication's command to finish them, or "
            "pass --unfinished to keep it as it is"
        )


def _check_title(source: ReplicationFolder, kept: Path) -> None:
    before, title = read_replication(kept).get("title"), source.replication.get("title")
    if before not in (None, title):
        raise UserError(
            f"{kept}: expected the kept replication {before!r}, received {title!r} from "
            f"{source.path}; rename the workdir"
        )


def _copy(source: ReplicationFolder, copy: Path, notes_before: Path) -> None:
    copy.mkdir()
    names = ["replication.json", *sorted(p.name for p in source.path.glob("line_seed_*.json"))]
    _copy_json(source.path, copy, names)
    for arm, runs in source.runs.items():
        for seed, run in runs.items():
            if run.record:
                _copy_run(run, copy / arm / f"seed_{seed}")
    notes = source.path / "notes.txt"
    notes = notes if notes.exists() else notes_before
    if notes.exists():
        text = without_places(notes.read_text(encoding="utf-8"))
        files.write_atomically(copy / "notes.txt", text.encode())


def _copy_run(run: RunFolder, copy: Path) -> None:
    copy.mkdir(parents=True)
    _copy_json(run.path, copy, _RUN_FILES)
    if run.history:
        rows = "".join(json.dumps(row, allow_nan=False) + "\n" for row in run.history)
        files.write_atomically(copy / "history.jsonl", rows.encode())


def _copy_json(source: Path, copy: Path, names: Iterable[str]) -> None:
    """Copies files of JSON objects without absolute paths; skips files that do not exist."""
    for name in names:
        if (source / name).exists():
            files.write_json(copy / name, without_places(files.read_json_object(source / name)))


def _clean_command(command: str) -> str:
    """Cleans a command argument by argument, as a quoted path can hold a blank."""
    try:
        arguments = shlex.split(command)
    except ValueError:  # an unclosed quote
        return without_places(command)
    cleaned, before = [], ""
    for argument in arguments:
        flag, equals, value = argument.partition("=")
        if not equals:
            flag, value = "", argument
        if "workers" in (flag.lstrip("-"), before.lstrip("-")):
            value = "..."
        elif value.startswith(("/", "~/")):
            value = _shortened(value)
        cleaned.append(f"{flag}{equals}{without_places(value)}")
        before = argument
    return shlex.join(cleaned)


def _shortened(path: str) -> str:
    return f".../{PurePosixPath(path).name}"


if __name__ == "__main__":
    sys.exit(main())
