#!/usr/bin/env bash
# The gate, also for a fresh machine: installs into .venv, checks style, words and types, and runs
# the tests.
#   tools/check.sh          style, words, types, quick and slow tests: the gate
#   tools/check.sh quick    style, words, types and quick tests
# Longer checks are in tools/check_release.sh.
EXTRAS='[test,jax,docs]' source "$(dirname "$0")/environment.sh"
export CUDA_VISIBLE_DEVICES=${CUDA_VISIBLE_DEVICES--1}
if [ "${installed_now:-}" ]; then
  # Python compiles what is imported. Collecting the tests here imports all of it once, on a second
  # core; otherwise each of pytest's workers would compile it.
  python -m pytest -q --collect-only --doctest-modules tests lbkeras > /dev/null 2>&1 &
fi
ruff check .
ruff format --check .
python tools/check_words.py
mypy
workers=$(python -c 'import os; print(min(os.cpu_count(), 8))')
# The workers share the cores, so more threads in each would wait for each other.
export TF_NUM_INTRAOP_THREADS=1 OPENBLAS_NUM_THREADS=1
tests="not slow and not release"
if [ "${1:-all}" != quick ]; then
  # One run, so that every worker imports once and none waits for the last quick tests. Slow tests
  # wait a lot, for each other and for memory, so there are two more workers than cores.
  tests="not release"
  workers=$((workers + 2))
fi
# tests/conftest.py puts files with slow tests first.
python -m pytest -q -n "$workers" --dist loadfile --no-loadscope-reorder --doctest-modules \
  -m "$tests" tests lbkeras
