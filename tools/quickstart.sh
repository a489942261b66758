#!/usr/bin/env bash
# The main use on a fresh machine: installs lbkeras into .venv and replicates Smith et al. 2018 on
# scikit-learn's digits with four of its 20 seeds. Prints the table at the end; the report and the
# pictures are in runs/smith2018_digits.
source "$(dirname "$0")/environment.sh"
lbkeras replicate --config=configs/papers/smith2018.py:digits --workdir=runs/smith2018_digits --seeds=4 "$@"
