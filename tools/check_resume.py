"""Kills training runs with SIGKILL at random moments and compares the final weights.

    python tools/check_resume.py                     30 kills over all configs
    python tools/check_resume.py --kills=6 --folder=.release/resume   resumes where it stopped
    python tools/check_resume.py --only=batch_norm_and_dropout --kills=3
    python tools/check_resume.py --kills=3 --arm=adaptive \\
        --config=configs/papers/mccandlish2018_noise_scale.py:digits -- --config.plan.epochs=20

Each config is trained undisturbed, with a checkpoint after each call of the graph, and then again
for each kill. That run is killed at a random moment (every third time right at the end of an epoch,
else inside one) and run again until it ends. Its weights, optimizer slots and history must equal
those of the undisturbed run, bit for bit. The exit status is 1 if any of them differs.
"""

import argparse
import dataclasses
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
PAPERS = "configs/papers"
CLOCK = ("seconds", "examples_per_second")


@dataclasses.dataclass(frozen=True)
class Chosen:
    """One arm of a config, with overrides."""

    name: str
    config: str
    arm: str
    overrides: tuple[str, ...] = ()


SMITH = ("--config.plan.epochs=20", "--config.plan.boundaries=(6, 12, 16)")
CONFIGS = (
    Chosen("growing_batch", f"{PAPERS}/smith2018.py:digits", "increased_learning_rate", SMITH),
    Chosen("batch_norm_and_dropout", "tools/resume_configs.py", "grown"),
    Chosen(
        "adaptive_batch",
        f"{PAPERS}/mccandlish2018_noise_scale.py:digits",
        "adaptive",
        ("--config.plan.epochs=20",),
    ),
    Chosen("auto_wu", f"{PAPERS}/kim2021_autowu.py:digits", "auto_wu_128"),
    Chosen("ada_scale", f"{PAPERS}/johnson2020_adascale.py:digits", "adascale_128"),
    Chosen("auto_wu_restored", "tools/resume_configs.py", "restored"),
    Chosen("nodes", f"{PAPERS}/yuan2021_decentlam.py:digits", "decentlam_256"),
)


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--kills", type=int, default=30, help="for all configs together")
    parser.add_argument("--only", choices=[each.name for each in CONFIGS], help="one config")
    parser.add_argument("--config", help="another config instead of these")
    parser.add_argument("--arm", default="", help="of --config")
    parser.add_argument("overrides", nargs="*", help="of --config, after --")
    parser.add_argument("--seed", type=int, default=0, help="of the random moments")
    parser.add_argument("--folder", help="keeps the results for the next call")
    arguments = parser.parse_args()
    configs = [each for each in CONFIGS if arguments.only in (None, each.name)]
    if arguments.config:
        other = Chosen("other", arguments.config, arguments.arm, tuple(arguments.overrides))
        configs = [other]
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(arguments.folder or temporary)
        results = [
            check(folder, configs[number % len(configs)], number, arguments.seed)
            for number in range(arguments.kills)
        ]
    print(f"{sum(results)} of {arguments.kills} end with the same weights")
    return 0 if all(results) else 1


def check(folder: Path, chosen: Chosen, number: int, seed: int) -> bool:
    """Kills one run and compares it with the undisturbed run, or reads the result if it exists."""
    undisturbed = folder / chosen.name / "undisturbed"
    result = folder / chosen.name / f"kill_{seed}_{number}.json"
    if result.exists():
        return json.loads(result.read_text())["same"]
    if not (undisturbed / "model.keras").exists():
        begin = time.monotonic()
        if start(undisturbed, chosen).wait():
            raise SystemExit(f"{chosen.name}: {start_command(undisturbed, chosen)} fails")
        print(f"{chosen.name}, undisturbed: {time.monotonic() - begin:.1f} s", flush=True)
    record = json.loads((undisturbed / "record.json").read_text())
    moments = random.Random(f"{seed} {number}")
    with tempfile.TemporaryDirectory(dir=folder / chosen.name) as temporary:
        workdir = Path(temporary) / "killed"
        if number % 3 == 0:
            where = kill_after_epochs(workdir, chosen, moments.randrange(1, record["epochs"]))
        else:
            where = kill_after_seconds(workdir, chosen, moments.random() * record["seconds"])
        same = start(workdir, chosen).wait() == 0 and equal(undisturbed, workdir)
    print(f"{chosen.name} {where}: {'same weights' if same else 'DIFFERENT'}", flush=True)
    result.write_text(json.dumps({"same": same, "where": where}))
    return same


def start(workdir: Path, chosen: Chosen) -> subprocess.Popen:
    return subprocess.Popen(
        start_command(workdir, chosen),
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def start_command(workdir: Path, chosen: Chosen) -> list[str]:
    return [
        *(sys.executable, "-m", "lbkeras", "train", f"--workdir={workdir.resolve()}"),
        f"--config={chosen.config}",
        *([f"--arm={chosen.arm}"] if chosen.arm else []),
        *chosen.overrides,
        "--config.checkpoint_minutes=0.0",
        "--config.train.steps_per_execution=5",
    ]


def kill_after_epochs(workdir: Path, chosen: Chosen, epochs: int) -> str:
    """Kills a run as soon as its history has `epochs` epochs."""
    process = start(workdir, chosen)
    while rows(workdir) < epochs and process.poll() is None:
        time.sleep(0.001)
    return _kill(process, workdir)


def kill_after_seconds(workdir: Path, chosen: Chosen, seconds: float) -> str:
    """Kills a run `seconds` after its first checkpoint."""
    process = start(workdir, chosen)
    while not list(workdir.glob("checkpoints/*.npz")) and process.poll() is None:
        time.sleep(0.001)
    time.sleep(seconds)
    return _kill(process, workdir)


def _kill(process: subprocess.Popen, workdir: Path) -> str:
    ended = process.poll() is not None
    if not ended:
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    newest = sorted(workdir.glob("checkpoints/*.npz"))[-1:]
    place = "before the first checkpoint"
    if newest:
        with np.load(newest[0]) as file:
            state = json.loads(bytes(file["state"]))
        place = f"epoch {state['epoch'] + 1}, step {state['step']}, batch {state['batch_size']}"
    return f"{'ended' if ended else 'killed'} after {rows(workdir)} epochs (checkpoint: {place})"


def rows(workdir: Path) -> int:
    history = workdir / "history.jsonl"
    return history.read_bytes().count(b"\n") if history.exists() else 0


def equal(one: Path, other: Path) -> bool:
    return _history(one) == _history(other) and _same_arrays(one, other)


def _history(workdir: Path) -> list[dict]:
    lines = (workdir / "history.jsonl").read_text().splitlines()
    return [{k: v for k, v in json.loads(line).items() if k not in CLOCK} for line in lines]


def _same_arrays(one: Path, other: Path) -> bool:
    newest = [sorted(workdir.glob("checkpoints/*.npz"))[-1] for workdir in (one, other)]
    with np.load(newest[0]) as a, np.load(newest[1]) as b:
        names = [name for name in a.files if name.startswith(("model/", "optimizer/"))]
        return len(names) > 2 and all(np.array_equal(a[name], b[name]) for name in names)


if __name__ == "__main__":
    sys.exit(main())
