#!/usr/bin/env bash
# The main job on a fresh machine: installs lbkeras into .venv and replicates Smith et al. 2018 on
# scikit-learn's digits with four of its 20 seeds. Ends with the table; report and pictures lie in
# runs/smith2018_digits.
source "$(dirname "$0")/environment.sh"
lbkeras replicate --config=configs/papers/smith2018.py:digits --workdir=runs/smith2018_digits --seeds=4 "$@"
