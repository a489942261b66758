"""One script for a GPU: what lbkeras' arithmetic costs and trains there, on Keras' JAX backend.

    bash tools/pack_for_gpu.sh                 makes .gpu/, what such a machine lacks
    python tools/gpu_report.py --minutes=8 --out=DIR
    python tools/gpu_report.py --minutes=3 --out=DIR --parts=platform,updates,ghosts
    python tools/gpu_report.py --tiny --out=DIR    everything at tiny sizes, for a try on the CPU

It prints as it goes, writes DIR/gpu_report.json after every figure, and ends by itself when the
minutes are over, whatever it is doing then. It needs Keras and JAX and no TensorFlow; optax and
torch are compared with where they are installed.

Parts, in this order: platform; updates (an update of ResNet-50's variables, ours and others');
ghosts (ghost batch norm against batch norm, candidates too); steps (WRN-16-4 in bfloat16, an epoch
in one call, data on the device); equality (with float64 and with the CPU); fit (plain Keras fit);
torch (the update by torch and timm); smith2018 (the paper's four arms on CIFAR-10, as many epochs
as fit). WRN-16-4's programs compile one after another: in five threads each took 310 s or more on
an H200, where one alone takes 20 to 70 s.
"""

import argparse
import json
import os
import sys
import threading
import time
import traceback
from pathlib import Path

os.environ.setdefault("KERAS_BACKEND", "jax")
os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

PARTS = (
    "platform",
    "updates",
    "ghosts",
    "steps",
    "equality",
    "fit",
    "torch",
    "smith2018",
)
SPARE_SECONDS = 6  # for the end of the process


class Report:
    """What was measured so far, on the screen and in a file, and the time that is left."""

    def __init__(self, folder: Path, minutes: float):
        self.path = folder / "gpu_report.json"
        self.data = {"parts": {}}
        self._begin = time.monotonic()
        self._end = self._begin + 60 * minutes - SPARE_SECONDS
        self._lock = threading.Lock()
        folder.mkdir(parents=True, exist_ok=True)
        threading.Thread(target=self._stop_at_the_end, daemon=True).start()

    def seconds_left(self) -> float:
        """Until the process ends."""
        return self._end - time.monotonic()

    def say(self, line: str) -> None:
        """A line on the screen, with the seconds since the start."""
        print(f"[{time.monotonic() - self._begin:5.0f} s] {line}", flush=True)

    def keep(self, part: str, key: str, value) -> None:
        """Keeps a figure and writes the file."""
        with self._lock:
            self.data["parts"].setdefault(part, {})[key] = value
            self._write()

    def note(self, part: str, key: str, value) -> None:
        """Keeps a figure, writes the file, prints the figure."""
        self.keep(part, key, value)
        self.say(f"{part}: {key}: {json.dumps(value, default=str)}")

    def finish(self, state: str) -> None:
        """Writes how it ended."""
        with self._lock:
            self.data["ended"] = state
            self.data["seconds"] = time.monotonic() - self._begin
            self._write()
        self.say(state)

    def _write(self):
        new = self.path.with_suffix(".new")
        new.write_text(json.dumps(self.data, indent=1, default=str) + "\n")
        os.replace(new, self.path)

    def _stop_at_the_end(self):
        time.sleep(max(self.seconds_left(), 0))
        self.finish("the minutes are over")
        sys.stdout.flush()
        os._exit(0)


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--minutes", type=float, default=8.0, help="after which it ends")
    parser.add_argument("--out", type=Path, required=True, help="folder of gpu_report.json")
    parser.add_argument("--parts", default=",".join(PARTS), help=f"of {', '.join(PARTS)}")
    parser.add_argument("--skip", default="", help="parts that are left out")
    parser.add_argument("--tiny", action="store_true", help="tiny sizes, to try the script itself")
    parser.add_argument("--data", type=Path, default=Path(".gpu/cifar10_jpeg.npz"))
    parser.add_argument("--epochs", type=int, default=0, help="of smith2018 at most; 0: 200")
    parser.add_argument("--seeds", type=int, default=1, help="of smith2018")
    parser.add_argument("--first_seed", type=int, default=0, help="of smith2018")
    parser.add_argument("--rounds", type=int, default=9, help="timings of each figure")
    arguments = parser.parse_args()
    skipped = arguments.skip.split(",")
    arguments.parts = [p for p in arguments.parts.split(",") if p and p not in skipped]
    unknown = sorted(set(arguments.parts) - set(PARTS))
    if unknown:
        parser.error(f"--parts: expected some of {', '.join(PARTS)}, received {', '.join(unknown)}")
    report = Report(arguments.out, arguments.minutes)
    for part in PARTS:
        if part in arguments.parts:
            report.say(f"part {part}")
            try:
                _run(part, report, arguments)
            except Exception as error:  # the other parts are still wanted
                traceback.print_exc()
                report.note(part, "error", f"{type(error).__name__}: {str(error)[:500]}")
    report.finish("done")
    sys.stdout.flush()
    os._exit(0)  # threads that still compile are not waited for


def _run(part: str, report: Report, arguments) -> None:
    """Imports what a part needs when its turn comes, so that one that fails costs only itself."""
    if part == "platform":
        platform(report)
    elif part in ("updates", "ghosts", "torch"):
        import gpu_updates

        getattr(gpu_updates, f"time_{part}")(report, arguments)
    elif part == "equality":
        import gpu_equality

        gpu_equality.equality(report, arguments)
    else:
        import gpu_training

        getattr(gpu_training, part)(report, arguments)


def platform(report: Report) -> None:
    """The card, the versions and what the device's memory moves a second."""
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


if __name__ == "__main__":
    main()
