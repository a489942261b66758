"""Notes of a report: what to know about how its runs were made."""

import re
from typing import Any

from lbkeras.replication.replication_folder import ReplicationFolder

# Flags in the command, for a replication.json without `seeds_in_config`.
_SEED_FLAGS = re.compile(r"--?(?:config\.(?:first_seed|seeds)|seeds)[= ]\d+")


def notes_on(folder: ReplicationFolder, hardware: list, versions: list) -> list[str]:
    """Returns the notes in notes.txt, then those on how the runs were made.

    They name seeds that differ from the config's, several machines, versions or configs, and arms
    that train for different numbers of epochs.

    Args:
        folder: the replication.
        hardware, versions: the distinct ones among its runs.
    """
    notes = folder.own_notes() + _note_seeds(folder.replication)
    notes += _note_epochs(folder.replication)
    if len(hardware) > 1:
        notes.append(
            f"The runs were made on {len(hardware)} different machines; "
            "their wall-clock times are not comparable."
        )
    if len(versions) > 1:
        notes.append(f"The runs were made with {len(versions)} different sets of package versions.")
    configs = {
        run.record.get("config")
        for runs in folder.runs.values()
        for run in runs.values()
        if isinstance(run.record.get("config"), str)
    }
    if len(configs) > 1:
        notes.append(f"The runs name different configs: {', '.join(sorted(configs))}.")
    extra = [
        f"{arm}/{path.name}"
        for arm, runs in folder.runs.items()
        for path in sorted((folder.path / arm).glob("seed_*"))
        if path.name not in {f"seed_{seed}" for seed in runs}
    ]
    if extra:
        notes.append(
            f"Left out, as replication.json does not list these seeds: {', '.join(extra)}."
        )
    return notes


def _note_epochs(replication: dict[str, Any]) -> list[str]:
    """Notes that arms train for different numbers of epochs."""
    epochs = {}
    for arm, plan in (replication.get("plans") or {}).items():
        lengths = [phase.get("epochs") for phase in (plan or {}).get("phases") or []]
        if lengths and all(isinstance(length, int) for length in lengths):
            epochs[arm] = sum(lengths)
    if len(set(epochs.values())) < 2:
        return []
    listed = ", ".join(f"{arm} {number}" for arm, number in epochs.items())
    return [f"The arms train for different numbers of epochs: {listed}."]


def _note_seeds(replication: dict[str, Any]) -> list[str]:
    """Notes that the seeds are not those that the config fixes."""
    seeds, fixed = replication["seeds"], replication.get("seeds_in_config")
    if isinstance(fixed, list):
        if seeds == fixed:
            return []
        return [
            f"The config fixes {_describe_seeds(fixed)}; this replication has "
            f"{_describe_seeds(seeds)}."
        ]
    flags = _SEED_FLAGS.findall(str(replication.get("command")))
    if not flags:
        return []
    return [f"The seeds were set on the command line ({' '.join(flags)}), not by the config."]


def _describe_seeds(seeds: list[int]) -> str:
    if len(seeds) < 2:
        return f"n={len(seeds)} (seed {', '.join(map(str, seeds)) or 'none'})"
    return f"n={len(seeds)} (seeds {seeds[0]} to {seeds[-1]})"
