"""Runs a script in several processes on this machine, as the workers of one training."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

ROOT = Path(__file__).parents[2]


def run_workers(
    script: Path, folder: Path, *arguments: str, num_workers: int = 1, seconds: float = 240
) -> list[dict]:
    """Runs `python SCRIPT ARGUMENTS RESULT` in each worker; returns what each wrote there.

    Every process is dead when it returns or raises.

    Args:
        script: writes a dict of arrays to its last argument with `numpy.savez`.
        folder: an existing one for results and what the processes say.
        arguments: of the script.
        num_workers: 1: one process without TF_CONFIG.
        seconds: until all are killed.
    """
    addresses = [f"localhost:{port}" for port in free_ports(num_workers)]
    processes, results = [], []
    try:
        for index in range(num_workers):
            results.append(folder / f"worker_{index}_of_{num_workers}_{arguments[0]}.npz")
            environment = os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3", "PYTHONPATH": str(ROOT)}
            environment["PYTHONFAULTHANDLER"] = "1"  # says where a crash was
            environment.pop("TF_CONFIG", None)
            if num_workers > 1:
                task = {"type": "worker", "index": index}
                config = {"cluster": {"worker": addresses}, "task": task}
                environment["TF_CONFIG"] = json.dumps(config)
            with open(results[-1].with_suffix(".log"), "w") as log:
                command = [sys.executable, str(script), *arguments, str(results[-1])]
                processes.append(
                    subprocess.Popen(
                        command,
                        env=environment,
                        stdout=log,
                        stderr=subprocess.STDOUT,
                        start_new_session=True,
                    )
                )
        _wait(processes, seconds)
    finally:
        for process in processes:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    for process, result in zip(processes, results, strict=True):
        said = result.with_suffix(".log").read_text()
        if process.returncode != 0:
            raise AssertionError(f"{result.stem}: status {process.returncode}\n{said[-6000:]}")
    return [dict(np.load(result)) for result in results]


def free_ports(number: int) -> list[int]:
    """Ports that nobody listens on at this moment."""
    sockets = [socket.socket() for _ in range(number)]
    try:
        for each in sockets:
            each.bind(("localhost", 0))
        return [each.getsockname()[1] for each in sockets]
    finally:
        for each in sockets:
            each.close()


def _wait(processes, seconds):
    """Until all have ended, one has failed, or the time is up."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        states = [process.poll() for process in processes]
        if None not in states or any(state not in (None, 0) for state in states):
            return
        time.sleep(0.1)
