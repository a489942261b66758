"""Runs a script in several processes on this machine, as the workers of one training."""

import json
import os
import time
from pathlib import Path

import numpy as np

from tests.forked import Forked
from tests.ports import reserve_addresses


def run_workers(
    script: Path, folder: Path, *arguments: str, num_workers: int = 1, seconds: float = 240
) -> list[dict]:
    """Runs `python SCRIPT ARGUMENTS RESULT` in each worker; returns each worker's result.

    All processes have ended when it returns or raises.

    Args:
        script: writes a dict of arrays to its last argument with `numpy.savez`.
        folder: an existing folder for the results and outputs of the processes.
        arguments: of the script.
        num_workers: number of processes; 1: one process without TF_CONFIG.
        seconds: time after which all processes are killed.
    """
    addresses = reserve_addresses(num_workers)
    processes, results = [], []
    try:
        for index in range(num_workers):
            results.append(folder / f"worker_{index}_of_{num_workers}_{arguments[0]}.npz")
            environment = os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3"}
            environment.pop("TF_CONFIG", None)
            if num_workers > 1:
                task = {"type": "worker", "index": index}
                config = {"cluster": {"worker": addresses}, "task": task}
                environment["TF_CONFIG"] = json.dumps(config)
            processes.append(
                Forked(
                    *arguments,
                    results[-1],
                    script=script,
                    environment=environment,
                    output=results[-1].with_suffix(".log"),
                )
            )
        _wait(processes, seconds)
    finally:
        for process in processes:
            process.kill()
            process.wait()
    for process, result in zip(processes, results, strict=True):
        said = result.with_suffix(".log").read_text()
        if process.returncode != 0:
            raise AssertionError(f"{result.stem}: status {process.returncode}\n{said[-6000:]}")
    return [dict(np.load(result)) for result in results]


def _wait(processes, seconds):
    """Waits until all have ended, one has failed, or the time is up."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        states = [process.poll() for process in processes]
        if None not in states or any(state not in (None, 0) for state in states):
            return
        time.sleep(0.02)
