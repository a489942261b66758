"""Measures lbkeras on a GPU with Keras' JAX backend: the speed of `fit`, and the arithmetic.

    bash tools/pack_for_gpu.sh                 makes .gpu/, with what a bare GPU machine lacks
    python tools/gpu_report.py --minutes=9 --out=DIR
    python tools/gpu_report.py --minutes=3 --out=DIR --parts=platform,updates,ghosts
    python tools/gpu_report.py --tiny --out=DIR    everything at tiny sizes, to try it on the CPU

It prints figures as they come, writes DIR/gpu_report.json after each of them, and ends when the
minutes are over, whatever it is doing then. It needs Keras and JAX but no TensorFlow. It also
measures optax and torch if they are installed.

Parts, in this order:

    platform   the device and the versions
    compile    compiles all programs of WRN-16-4 at once into JAX's persistent cache, each in its
               own process: in threads of one process each took 310 s, alone 20 to 70 s
    fit        lbkeras' `fit` against a bare loop and Keras' own `fit`, in turn
    ghosts     ghost batch norm against batch norm, for inputs (batch, features)
    short_fit  20 updates on the device and on the CPU
    memory     peaks with and without MicroBatches, and what a change of momentum costs
    smith2018  smith2018:gpu_cifar10, its four arms side by side, for as many epochs as fit

These parts run only if they are named:

    float32    lbkeras' `fit` against a bare loop in float32, at batch 640 (with `compile`)
    updates    updates of ResNet-50's variables, by our optimizers and others
    equality   results against float64 and against the CPU
    torch      the update by torch and timm
"""

import argparse
import json
import os
import shutil
import sys
import tempfile
import threading
import time
import traceback
from pathlib import Path

from gpu_processes import Child, use_cache, wait, write

os.environ.setdefault("KERAS_BACKEND", "jax")
os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

DEFAULT_PARTS = ("platform", "compile", "fit", "ghosts", "short_fit", "memory", "smith2018")
PARTS = (*DEFAULT_PARTS, "float32", "updates", "equality", "torch")
SPARE_SECONDS = 6  # to end the process
SHARE_TO_COMPILE = 0.4  # largest share of the time
MOST_SECONDS_OF_MEMORY = 40


class Report:
    """The figures so far, on the screen and in a file, and the time that is left.

    Attributes:
        path: the file's path.
        scratch: folder for temporary files.
        children: processes to stop at the end.
        speeds: seconds per epoch of lbkeras' `fit`, by batch size.
        compiled_epochs: length of the plans whose programs were compiled before; None: none were.
    """

    def __init__(self, folder: Path, minutes: float):
        self.path = folder / "gpu_report.json"
        self.scratch = Path(tempfile.mkdtemp(prefix="gpu_report_"))
        self.data = {"parts": {}}
        self.children = []
        self.speeds, self.compiled_epochs = {}, None
        self.seconds = 60 * minutes
        self._begin = time.monotonic()
        self._end = self._begin + self.seconds - SPARE_SECONDS
        self._lock = threading.Lock()
        folder.mkdir(parents=True, exist_ok=True)
        threading.Thread(target=self._stop_at_the_end, daemon=True).start()

    def seconds_left(self) -> float:
        """Returns the seconds until the process ends."""
        return self._end - time.monotonic()

    def say(self, line: str) -> None:
        """Prints a line with the seconds since the start."""
        print(f"[{time.monotonic() - self._begin:5.0f} s] {line}", flush=True)

    def keep(self, part: str, key: str, value) -> None:
        """Adds a figure and writes the file."""
        with self._lock:
            self.data["parts"].setdefault(part, {})[key] = value
            self._write()

    def note(self, part: str, key: str, value) -> None:
        """Adds a figure, writes the file and prints the figure."""
        self.keep(part, key, value)
        self.say(f"{part}: {key}: {json.dumps(value, default=str)}")

    def finish(self, state: str) -> None:
        """Writes how the report ended, stops all children and ends the process."""
        with self._lock:
            self.data.setdefault("ended", state)
            self.data["seconds"] = time.monotonic() - self._begin
            self._write()
        for child in list(self.children):
            child.stop()
        shutil.rmtree(self.scratch, ignore_errors=True)
        self.say(state)
        sys.stdout.flush()
        os._exit(0)  # does not wait for threads that still compile

    def _write(self):
        new = self.path.with_suffix(".new")
        new.write_text(json.dumps(self.data, indent=1, default=str) + "\n")
        os.replace(new, self.path)

    def _stop_at_the_end(self):
        time.sleep(max(self.seconds_left(), 0))
        self.finish("the minutes are over")


def main():
    arguments = _arguments()
    if arguments.child:
        os.nice(arguments.nice)
        write(arguments.result, child(json.loads(arguments.child), arguments))
        return
    report = Report(arguments.out, arguments.minutes)
    use_cache(report.scratch / "cache")
    for part in PARTS:
        if part in arguments.parts:
            report.say(f"part {part}")
            try:
                _run(part, report, arguments)
            except Exception as error:  # continue with the other parts
                traceback.print_exc()
                report.note(part, "error", f"{type(error).__name__}: {str(error)[:500]}")
    report.finish("done")


def _arguments():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--minutes", type=float, default=9.0, help="time limit")
    parser.add_argument("--out", type=Path, required=True, help="folder of gpu_report.json")
    parser.add_argument("--parts", default=",".join(DEFAULT_PARTS), help=f"of {', '.join(PARTS)}")
    parser.add_argument("--skip", default="", help="parts to leave out")
    parser.add_argument("--tiny", action="store_true", help="tiny sizes, to try the script itself")
    parser.add_argument("--data", type=Path, default=Path(".gpu/cifar10_jpeg.npz"))
    parser.add_argument("--epochs", type=int, default=0, help="most epochs of smith2018; 0: 80")
    parser.add_argument("--first_seed", type=int, default=0, help="seed of smith2018")
    parser.add_argument("--rounds", type=int, default=7, help="timings of each figure")
    parser.add_argument("--steps_per_execution", type=int, default=1, help="of lbkeras' fit")
    parser.add_argument("--child", default="", help=argparse.SUPPRESS)
    parser.add_argument("--result", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--nice", type=int, default=0, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    skipped = arguments.skip.split(",")
    arguments.parts = [p for p in arguments.parts.split(",") if p and p not in skipped]
    unknown = sorted(set(arguments.parts) - set(PARTS))
    if unknown:
        parser.error(f"--parts: expected some of {', '.join(PARTS)}, received {', '.join(unknown)}")
    return arguments


def child(task: dict, arguments) -> dict:
    """Runs the task of a child process; see `gpu_processes.Child`."""
    arguments.precision = task.get("precision", "mixed_bfloat16")
    import gpu_equality
    import gpu_smith2018
    import gpu_training

    functions = {
        "arm": gpu_smith2018.run_arm,
        "measure": gpu_training.measure,
        "momentum": gpu_training.momentum_change,
        "short_fit": gpu_equality.short_fits,
    }
    return functions.get(task["what"], gpu_training.compile_one)(task, arguments)


def _run(part: str, report: Report, arguments) -> None:
    """Runs a part. Imports its module only then, so that a failing import stops no other part."""
    if part == "platform":
        platform(report)
    elif part == "compile":
        compile_all(report, arguments)
    elif part == "ghosts":
        import gpu_ghosts

        gpu_ghosts.time_ghosts(report, arguments)
    elif part in ("updates", "torch"):
        import gpu_updates

        getattr(gpu_updates, f"time_{part}")(report, arguments)
    elif part in ("equality", "short_fit"):
        import gpu_equality

        getattr(gpu_equality, part)(report, arguments)
    elif part == "memory":
        memory(report, arguments)
    elif part in ("fit", "float32"):
        import gpu_training

        gpu_training.timed(part, report, arguments)
    else:
        import gpu_smith2018

        gpu_smith2018.smith2018(report, arguments)


def platform(report: Report) -> None:
    """Reports the device and the versions."""
    import importlib.metadata
    import platform as machine

    import jax

    versions = {}
    for name in ("jax", "jaxlib", "keras", "numpy", "optax", "torch", "timm", "ml_collections"):
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            versions[name] = None
    report.note("platform", "versions", {"python": machine.python_version(), **versions})
    device = jax.devices()[0]
    report.note(
        "platform",
        "device",
        {"platform": device.platform, "kind": device.device_kind, "cpus": os.cpu_count()},
    )


def compile_all(report: Report, arguments) -> None:
    """Decodes the data once, then compiles each program in its own process."""
    import gpu_equality
    import gpu_smith2018
    import gpu_training
    import numpy as np

    if not arguments.tiny:
        found = "CIFAR-10" if arguments.data.exists() else f"random: no {arguments.data}"
        decoded = gpu_training.decoded(arguments.data, False)
        arguments.data = report.scratch / "cifar10.npz"
        np.savez(arguments.data, **decoded)
        report.note("compile", "data", found)
    first = gpu_training.batches(arguments)
    tasks, later = [], []
    if "fit" in arguments.parts:
        for batch in first[::-1]:
            tasks.append({"what": "bare", "batch": batch})
            tasks.append({"what": "fit", "batch": batch, "only": "compile"})
        tasks.append({"what": "plain", "batch": first[0]})
    if "float32" in arguments.parts:
        own = gpu_training.float32_task("fit", arguments) | {"only": "compile"}
        tasks += [gpu_training.float32_task("bare", arguments), own]
    if "smith2018" in arguments.parts:
        report.compiled_epochs = gpu_smith2018.planned(arguments)
        later = gpu_smith2018.programs(report.compiled_epochs, arguments.tiny)
        later = later[:1] if arguments.tiny else later
    if "memory" in arguments.parts:
        later += [task | {"only": "compile"} for task in _memory_tasks(arguments)]
    children = [Child(task, report.scratch, arguments) for task in tasks]
    if "short_fit" in arguments.parts:
        children += gpu_equality.start_short_fits(report, arguments)
    nice = 0 if arguments.tiny else 10  # programs that are needed first come first
    children += [Child(task, report.scratch, arguments, nice=nice) for task in later]
    report.children += children
    report.say(f"compile: {len(children)} processes")
    begin, waiting = time.monotonic(), set(children)

    def look():
        for each in [each for each in waiting if not each.running()]:
            waiting.discard(each)
            done = {"ended after, s": round(time.monotonic() - begin, 1)}
            report.note("compile", each.name, done | each.result())

    share = 0.8 if arguments.tiny else SHARE_TO_COMPILE
    wait(children, share * report.seconds, look)
    look()


def memory(report: Report, arguments) -> None:
    """Reports memory peaks with programs from the cache, and the cost of a change of momentum."""
    children = [Child(task, report.scratch, arguments) for task in _memory_tasks(arguments)]
    report.children += children
    wait(children, min(MOST_SECONDS_OF_MEMORY, report.seconds_left() - 5))
    for each in children:
        report.note("memory", each.name, each.result())


def _memory_tasks(arguments) -> list[dict]:
    batch, micro = (16, 8) if arguments.tiny else (5120, 640)
    tasks = [{"what": "fit", "batch": batch, "micro": each} for each in (None, micro)]
    return [*tasks, {"what": "momentum", "batch": 8 if arguments.tiny else 640}]


if __name__ == "__main__":
    main()
