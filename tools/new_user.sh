#!/usr/bin/env bash
# Times a new user's path: installs the wheel into a new environment, then in an empty folder runs
# the user's program (tools/new_user.py: MNIST as arrays, a CNN of 30,330 weights). It asks for
# advice and compares two arms with two seeds over 5 epochs. Then the command line makes the report.
#   tools/new_user.sh DATA_DIR      DATA_DIR has MNIST as prepared by TensorFlow Datasets
# Fails if this takes more than five minutes after installing, if the baseline is below 98 %, or if
# it takes more than 12 lines besides data and model. Set PYTHON to choose the interpreter.
set -euo pipefail
DATA_DIR=$(realpath "${1:?"expected the folder of prepared TensorFlow Datasets data"}")
ROOT=$(cd "$(dirname "$0")/.." && pwd)
FOLDER=$(mktemp -d)
trap 'rm -rf "$FOLDER"' EXIT
export CUDA_VISIBLE_DEVICES=${CUDA_VISIBLE_DEVICES--1}
unset PYTHONPATH
cd "$FOLDER"

begin=$SECONDS
"${PYTHON:-python3}" -m venv environment
git clone --quiet --no-hardlinks "$ROOT" clone
environment/bin/python -m pip --disable-pip-version-check wheel --quiet --no-deps -w . ./clone
environment/bin/python -m pip --disable-pip-version-check install --quiet ./lbkeras-*.whl
export PATH="$FOLDER/environment/bin:$PATH"
echo "figure: built and installed the wheel in $((SECONDS - begin)) s"

mkdir own && cd own
python - "$DATA_DIR" <<'PYTHON' 2> ../data.log || { cat ../data.log >&2; exit 1; }
import sys
import numpy as np
import tensorflow_datasets as tfds

arrays = {}
for split, suffix in (("train", ""), ("test", "_test")):
    data = tfds.load("mnist", split=split, data_dir=sys.argv[1], download=False, batch_size=-1)
    arrays |= {f"x{suffix}": data["image"].numpy(), f"y{suffix}": data["label"].numpy()}
np.savez("mnist.npz", **arrays)
PYTHON

begin=$SECONDS
python "$ROOT/tools/new_user.py"
lbkeras report --workdir=runs/mnist > report.txt
took=$((SECONDS - begin))
python - "$ROOT/tools/new_user.py" "$took" <<'PYTHON'
import json
import sys

program, took = open(sys.argv[1]).read(), int(sys.argv[2])
lines = [line for line in program.partition("# ---- lbkeras ----")[2].splitlines() if line]
arms = json.load(open("runs/mnist/report.json"))["arms"]
accuracy = arms["own"]["metric"]["mean"]
parameters = json.load(open("runs/mnist/own/seed_0/record.json"))["parameters"]
print(f"figure: {took} s from the program's start to the report; {len(lines)} lines; "
      f"{parameters:,} weights, baseline {accuracy:.2%}; recommended "
      f"{arms['recommended']['metric']['mean']:.2%} in {arms['recommended']['updates_ratio']:.2f} "
      "times fewer updates")
assert took <= 300 and len(lines) <= 12 and accuracy >= 0.98 and parameters >= 30_000
PYTHON
