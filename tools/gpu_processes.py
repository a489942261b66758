"""Parts of gpu_report.py in separate processes, which compile or train side by side.

A child is gpu_report.py itself with `--child=JSON`; it writes its results as JSON. All processes
share JAX's persistent compilation cache, so a program that one has compiled is there for the next.
"""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

SCRIPT = Path(__file__).resolve().with_name("gpu_report.py")


def use_cache(folder: Path) -> None:
    """Makes this process and its children cache all programs. Call it before JAX is imported."""
    os.environ["JAX_COMPILATION_CACHE_DIR"] = str(folder)
    os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"
    os.environ["JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES"] = "-1"


def count_cache():
    """Returns a dict that counts the cache's hits and misses in this process from now on."""
    from jax import monitoring

    counts = {"hits": 0, "misses": 0}

    def count(event, **_):
        for name in counts:
            if event == f"/jax/compilation_cache/cache_{name}":
                counts[name] += 1

    monitoring.register_event_listener(count)
    return counts


class Child:
    """A process that runs one task.

    Args:
        task: the task for `gpu_report.child`, as plain data.
        folder: folder of its log and result.
        arguments: of the report.
        nice: added to its niceness, so that other processes come first.
        environment: variables in addition to this process' own.
    """

    def __init__(self, task: dict, folder: Path, arguments, nice=0, environment=None):
        self.task = task
        self.name = " ".join(str(value) for value in task.values() if value is not None)
        stem = self.name.replace(" ", "_").replace("/", "_")[:80]
        stem += f"_{len(list(folder.glob('*.log')))}"
        self._result, self._log = folder / f"{stem}.json", folder / f"{stem}.log"
        command = [sys.executable, str(SCRIPT), f"--out={folder}", f"--child={json.dumps(task)}"]
        command += [f"--result={self._result}", f"--data={arguments.data}", "--parts="]
        command += [f"--nice={nice}", f"--steps_per_execution={arguments.steps_per_execution}"]
        command += ["--tiny"] * arguments.tiny
        with open(self._log, "wb") as log:
            self._process = subprocess.Popen(
                command,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=os.environ | (environment or {}),
            )

    def running(self) -> bool:
        return self._process.poll() is None

    def stop(self) -> None:
        if self.running():
            self._process.kill()
        self._process.wait()

    def found(self) -> dict:
        """Returns what the process has written so far."""
        return json.loads(self._result.read_text()) if self._result.exists() else {}

    def result(self) -> dict:
        """Returns what the process found, with an `error` if it failed."""
        if self._process.poll() == 0:
            return self.found()
        if self._process.returncode in (None, -9):
            return self.found() | {"error": "not finished in time"}
        lines = self._log.read_text(errors="replace").strip().splitlines()
        return self.found() | {"error": " | ".join(lines[-3:])[-600:]}


def write(path: Path, found: dict) -> None:
    """Writes a child's results atomically."""
    new = path.with_suffix(".new")
    new.write_text(json.dumps(found))
    os.replace(new, path)


def wait(children, seconds: float, look=lambda: None, every=0.2) -> None:
    """Waits until all children have ended or the time is up, then stops those still running.

    Args:
        children: instances of `Child`.
        seconds: longest time to wait.
        look: called after each interval.
        every: length of the interval in seconds.
    """
    end = time.monotonic() + seconds
    while any(each.running() for each in children) and time.monotonic() < end:
        time.sleep(every)
        look()
    for each in children:
        each.stop()
