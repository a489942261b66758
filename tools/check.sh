#!/usr/bin/env bash
# Everything that must hold, on a fresh machine: installs into .venv, lints, runs all tests.
#   tools/check.sh          lint, quick tests, slow tests
#   tools/check.sh quick    lint and quick tests
EXTRAS='[test,jax]' source "$(dirname "$0")/environment.sh"
ruff check .
ruff format --check .
export CUDA_VISIBLE_DEVICES=${CUDA_VISIBLE_DEVICES--1}
workers=$(python -c 'import os; print(min(os.cpu_count(), 8))')
run() { python -m pytest -q --dist loadfile --doctest-modules tests lbkeras "$@"; }
run -n "$workers" -m "not slow"
if [ "${1:-all}" != quick ]; then
  # They wait a lot, for each other and for memory; the longest are in small files.
  run -n $((workers + 1)) --no-loadscope-reorder -m slow
fi
