"""Kills a training run with SIGKILL at random moments and compares the weights at the end.

    python tools/check_resume.py              10 kills, about 5 minutes on 2 cores
    python tools/check_resume.py --kills=3 --arm=original
    python tools/check_resume.py --kills=3 --arm=adaptive \\
        --config=configs/papers/mccandlish2018_noise_scale.py:digits -- --config.plan.epochs=20

Runs one arm of a config, by default of smith2018:digits (20 epochs, four phases), with a checkpoint
after each call of the graph, undisturbed, then again for each kill: it is killed at a random
moment, every third one right when an epoch is over (that before a batch switch by default), and run
again until it ends. All weights, optimizer slots and the history must equal those of the
undisturbed run, bit for bit. Exit status 1 if any differs.
"""

import argparse
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
BOUNDARIES = (6, 12, 16)
SMITH = "configs/papers/smith2018.py:digits"
CLOCK = ("seconds", "examples_per_second")


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--arm", default="increased_learning_rate")
    parser.add_argument("--config", default=SMITH)
    parser.add_argument("overrides", nargs="*", help="of the config, after --")
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    arguments = parser.parse_args()
    overrides = arguments.overrides
    if arguments.config == SMITH:
        overrides = [
            "--config.plan.epochs=20",
            f"--config.plan.boundaries={BOUNDARIES}",
            *overrides,
        ]
    chosen = [f"--config={arguments.config}", f"--arm={arguments.arm}", *overrides]
    moments = random.Random(arguments.seed)
    with tempfile.TemporaryDirectory() as folder:
        undisturbed = Path(folder) / "undisturbed"
        begin = time.monotonic()
        start(undisturbed, chosen).wait()
        training = json.loads((undisturbed / "record.json").read_text())["seconds"]
        print(f"undisturbed: {time.monotonic() - begin:.1f} s, {training:.1f} s of it training")
        different = 0
        for number in range(arguments.kills):
            workdir = Path(folder) / f"killed_{number}"
            if number % 3 == 0:
                epochs = moments.choice(BOUNDARIES)
                where = kill_after_epochs(workdir, chosen, epochs)
            else:
                where = kill_after_seconds(workdir, chosen, moments.random() * training)
            process = start(workdir, chosen)
            status = process.wait()
            same = status == 0 and equal(undisturbed, workdir)
            different += not same
            result = "same weights" if same else "DIFFERENT"
            print(f"kill {number + 1} {where}: {result}", flush=True)
    print(f"{arguments.kills - different} of {arguments.kills} end with the same weights")
    return 1 if different else 0


def start(workdir: Path, chosen: list[str]) -> subprocess.Popen:
    command = [
        *(sys.executable, "-m", "lbkeras", "train", f"--workdir={workdir}"),
        *chosen,
        "--config.checkpoint_minutes=0.0",
        "--config.steps_per_execution=5",
    ]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def kill_after_epochs(workdir: Path, chosen: list[str], epochs: int) -> str:
    """Kills as soon as the history holds that many epochs: at a batch switch."""
    process = start(workdir, chosen)
    while rows(workdir) < epochs and process.poll() is None:
        time.sleep(0.001)
    return _kill(process, workdir)


def kill_after_seconds(workdir: Path, chosen: list[str], seconds: float) -> str:
    """Kills that long after the first checkpoint."""
    process = start(workdir, chosen)
    while not list(workdir.glob("checkpoints/*.npz")) and process.poll() is None:
        time.sleep(0.001)
    time.sleep(seconds)
    return _kill(process, workdir)


def _kill(process: subprocess.Popen, workdir: Path) -> str:
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    newest = sorted(workdir.glob("checkpoints/*.npz"))[-1:]
    place = "before the first checkpoint"
    if newest:
        with np.load(newest[0]) as file:
            state = json.loads(bytes(file["state"]))
        place = f"epoch {state['epoch'] + 1}, step {state['step']}, batch {state['batch_size']}"
    return f"after {rows(workdir)} epochs (newest checkpoint: {place})"


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
