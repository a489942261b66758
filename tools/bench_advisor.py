"""Compares the advisor's predicted training times with the real ones: five plans.

    python tools/bench_advisor.py --data_dir=DIR            about 4 minutes on 2 quiet cores
    python tools/bench_advisor.py --only=digits             only cases that need no --data_dir

For each case, `lbkeras plan --auto --write` runs in its own process, then `lbkeras train` trains
the recommended plan in another. The predicted seconds of training are compared with those in the
run's record, without evaluation. The last line is the median of the deviations.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PAPERS = "configs/papers"
CASES = (
    ("digits, convolutional", "smith2018.py:digits", ("--arm=original",)),
    ("digits, growing batch", "smith2018.py:digits", ("--arm=increase_batch",)),
    ("digits, smaller network", "mccandlish2018_noise_scale.py:digits", ("--arm=small_batch",)),
    ("digits, LSTM", "you2019_legw.py:digits", ("--arm=legw_8",)),
    ("mnist, convolutional", "mccandlish2018_noise_scale.py:mnist", ("--arm=small_batch",)),
)


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data_dir", help="folder of prepared TensorFlow Datasets data")
    parser.add_argument("--only", default="", help="cases whose name contains this")
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    arguments = parser.parse_args()
    rows = []
    for name, config, flags in CASES:
        if arguments.only in name and (arguments.data_dir or name.startswith("digits")):
            rows.append(_compared(name, config, flags, arguments.data_dir))
            print(_line(rows[-1]), flush=True)
    median = statistics.median(row["deviation"] for row in rows)
    print(f"median deviation of {len(rows)}: {100 * median:.0f} %")
    if arguments.json:
        arguments.json.write_text(json.dumps(rows, indent=2) + "\n")


def _compared(name: str, config: str, flags, data_dir) -> dict:
    data = [f"--data_dir={data_dir}"] if data_dir else []
    with tempfile.TemporaryDirectory() as folder:
        written, run = Path(folder) / "recommended.py", Path(folder) / "run"
        load = os.getloadavg()[0]
        advised = _lbkeras(
            "plan", f"--config={PAPERS}/{config}", *flags, *data, "--auto", "--format=json",
            f"--write={written}",
        )  # fmt: skip
        recommendation = json.loads(advised)["recommendation"]
        _lbkeras("train", f"--config={written}", f"--workdir={run}", *data)
        record = json.loads((run / "record.json").read_text())
    predicted, took = recommendation["predicted_seconds"], record["seconds"]
    return {
        "name": name,
        "updates": recommendation["updates"],
        "own_updates": recommendation["own_updates"],
        "predicted_seconds": predicted,
        "seconds": took,
        "deviation": abs(predicted / took - 1),
        "accuracy": record["final"]["val_accuracy"],
        "load": [load, os.getloadavg()[0]],
    }


def _lbkeras(*arguments: str) -> str:
    """Returns the command's output; ends this program if the command fails."""
    done = subprocess.run(
        [sys.executable, "-m", "lbkeras", *arguments],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    if done.returncode:
        sys.exit(f"lbkeras {' '.join(arguments)}: status {done.returncode}\n{done.stderr}")
    return done.stdout


def _line(row: dict) -> str:
    return (
        f"{row['name']:26} {row['updates']:6,} of {row['own_updates']:6,} updates, predicted "
        f"{row['predicted_seconds']:6.1f} s, took {row['seconds']:6.1f} s: "
        f"{100 * row['deviation']:3.0f} % off; accuracy {100 * row['accuracy']:.2f} %, load "
        f"{row['load'][0]:.1f} to {row['load'][1]:.1f}"
    )


if __name__ == "__main__":
    main()
