"""Parts of gpu_report.py in processes of their own, which compile or train side by side.

A child is gpu_report.py again with `--child=JSON`; it writes what it found as JSON. All share JAX'
persistent compilation cache, so that what one has compiled the next finds.
"""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

SCRIPT = Path(__file__).resolve().with_name("gpu_report.py")


def use_cache(folder: Path) -> None:
    """Lets this process and its children keep every compiled program; before JAX is imported."""
    os.environ["JAX_COMPILATION_CACHE_DIR"] = str(folder)
    os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"
    os.environ["JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES"] = "-1"


def count_cache():
    """A dict of the cache's hits and misses in this process, which goes on counting."""
    from jax import monitoring

    counts = {"hits": 0, "misses": 0}

    def count(event, **_):
        for name in counts:
            if event == f"/jax/compilation_cache/cache_{name}":
                counts[name] += 1

    monitoring.register_event_listener(count)
    return counts


class Child:
    """A process that does one task.

    Args:
        task: what `gpu_report.child` does, as plain data.
        folder: for its log and result.
        arguments: of the report.
        nice: added to its niceness, so that others come first.
        environment: variables beside this process' own.
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
        """What it has written so far."""
        return json.loads(self._result.read_text()) if self._result.exists() else {}

    def result(self) -> dict:
        """What it found, and how it ended if it was not well."""
        if self._process.poll() == 0:
            return self.found()
        if self._process.returncode in (None, -9):
            return self.found() | {"error": "not done in time"}
        lines = self._log.read_text(errors="replace").strip().splitlines()
        return self.found() | {"error": " | ".join(lines[-3:])[-600:]}


def write(path: Path, found: dict) -> None:
    """Writes what a child has found, atomically."""
    new = path.with_suffix(".new")
    new.write_text(json.dumps(found))
    os.replace(new, path)


def wait(children, seconds: float, look=lambda: None, every=0.2) -> None:
    """Until all have ended or the time is over; then those that run are stopped.

    Args:
        children: `Child`ren.
        seconds: at most.
        look: called now and then.
        every: so many seconds.
    """
    end = time.monotonic() + seconds
    while any(each.running() for each in children) and time.monotonic() < end:
        time.sleep(every)
        look()
    for each in children:
        each.stop()
