#!/usr/bin/env bash
# Checks that take too long for the gate. Run it before a capability is called done, and note its
# figures.
#   tools/check_release.sh                  all parts that have not passed for this commit
#   tools/check_release.sh wheel python     these parts, even if they have passed
#   KILLS=100 REPEATS=20 tools/check_release.sh resume repeat
# A part that fails does not stop the others, but the exit status is then 1. After an interruption,
# it resumes with the part that was running. Logs and environments are in .release/.
#
#   gate        the gate in GATES (3) new clones of this commit, each timed
#   batteries   the tests marked `release`
#   resume      KILLS (30) runs killed with SIGKILL, against undisturbed runs
#   keras       the tests on other versions of Keras
#   wheel       sdist and wheel built from the commit, installed and used outside of the clone
#   python      the quick tests on those of PYTHONS (python3.12 python3.13) that are installed
#   notebook    the notebook in examples/, from its first cell to its last
#   trackers    the callbacks of Weights & Biases and MLflow together with ours, offline
#   references  optimizers against other implementations that can be installed
#   repeat      all tests of the gate REPEATS (20) times on a loaded machine
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
PARTS=(gate batteries resume keras wheel python notebook trackers references repeat)
ROOT=$PWD

figure() { echo "figure: $*"; } # a line for the table

in_environment() { EXTRAS='[test,jax,docs]' source tools/environment.sh; }

quick_tests() { # with the Python of an environment
  CUDA_VISIBLE_DEVICES=-1 TF_CPP_MIN_LOG_LEVEL=3 "$1" -m pytest -q -n 2 --dist loadfile \
    -m "not slow and not release" --doctest-modules tests lbkeras
}

new_environment() { # FOLDER INTERPRETER REQUIREMENT...; keeps an environment that is complete
  local folder=$1 interpreter=$2
  shift 2
  local wanted
  wanted="$* $(cksum < setup.py)"
  if [ "$(cat "$folder/installed" 2> /dev/null || true)" != "$wanted" ]; then
    rm -rf "$folder"
    "$interpreter" -m venv "$folder"
    "$folder/bin/python" -m pip install --quiet --disable-pip-version-check "$@"
    echo "$wanted" > "$folder/installed"
  fi
}

part_gate() {
  local folder begin i
  folder=$(mktemp -d)
  trap "rm -rf '$folder'" EXIT
  for ((i = 1; i <= ${GATES:-3}; i++)); do
    git clone --quiet --no-hardlinks "$ROOT" "$folder/$i"
    git -C "$folder/$i" checkout --quiet "$(git rev-parse HEAD)"
    begin=$SECONDS
    (cd "$folder/$i" && bash .ci/run)
    figure "gate in a new clone, run $i: $((SECONDS - begin)) s"
    rm -rf "${folder:?}/$i"
  done
}

part_batteries() {
  in_environment
  export CUDA_VISIBLE_DEVICES=${CUDA_VISIBLE_DEVICES--1}
  python -m pytest -q -s -m release --doctest-modules tests lbkeras | tee .release/batteries.txt
  grep -E "sequences|passed" .release/batteries.txt | while read -r line; do figure "$line"; done
}

part_resume() {
  in_environment
  python tools/check_resume.py --kills="${KILLS:-30}" \
    --folder=".release/resume-$(git rev-parse HEAD)" | tee .release/resume.txt
  figure "$(tail -1 .release/resume.txt)"
}

part_keras() {
  if [ ! -e tools/check_keras_versions.sh ]; then
    figure "skipped: there is no tools/check_keras_versions.sh"
    return
  fi
  bash tools/check_keras_versions.sh | tee .release/keras.txt
  figure "$(tail -1 .release/keras.txt)"
}

part_wheel() { bash tools/check_wheel.sh; } # prints the figure itself

part_python() {
  local each version
  for each in ${PYTHONS:-python3.12 python3.13}; do
    if ! command -v "$each" > /dev/null; then
      figure "$each: skipped, it is not installed"
      continue
    fi
    version=$("$each" -c 'import platform; print(platform.python_version())')
    new_environment ".release/venv-${each#python}" "$each" --editable '.[test,jax]'
    quick_tests "$ROOT/.release/venv-${each#python}/bin/python" | tee ".release/$each.txt"
    figure "Python $version: $(tail -1 ".release/$each.txt")"
  done
}

part_notebook() {
  new_environment .release/venv-notebook "${PYTHON:-python3}" --editable . ipykernel nbclient
  local folder
  folder=$(mktemp -d)
  trap "rm -rf '$folder'" EXIT
  cp examples/own_arrays.ipynb "$folder" # it runs in its own folder
  PATH="$ROOT/.release/venv-notebook/bin:$PATH" CUDA_VISIBLE_DEVICES=-1 \
    jupyter execute --inplace "$folder/own_arrays.ipynb"
  grep -q "SUPPORTED\|INCONCLUSIVE" "$folder/own_arrays.ipynb"
  grep -q "data:image/png" "$folder/own_arrays.ipynb" # the comparison's pictures
  figure "all cells ran"
}

part_trackers() {
  new_environment .release/venv-trackers "${PYTHON:-python3}" --editable . wandb mlflow
  CUDA_VISIBLE_DEVICES=-1 TF_CPP_MIN_LOG_LEVEL=3 \
    .release/venv-trackers/bin/python tools/check_trackers.py | tee .release/trackers.txt
  figure "$(tail -1 .release/trackers.txt)"
}

part_references() {
  local python=.release/venv-references/bin/python each
  new_environment .release/venv-references "${PYTHON:-python3}" --editable '.[test]'
  for each in optax adamp timm; do # the last two bring PyTorch
    "$python" -m pip install --quiet --disable-pip-version-check "$each" ||
      echo "$each cannot be installed"
  done
  # PyTorch's Triton and TensorFlow in one process cause a segmentation fault.
  "$python" -m pip uninstall --yes --quiet triton 2> /dev/null || true
  CUDA_VISIBLE_DEVICES=-1 "$python" tools/check_optimizer_references.py | tee .release/references.txt
  figure "$(tail -1 .release/references.txt)"
}

part_repeat() {
  bash tools/repeat_tests.sh "${REPEATS:-20}" | tee .release/repeat.txt
  grep -E "^failed|^no test failed" .release/repeat.txt | while read -r line; do figure "$line"; done
}

if [ "${1:-}" = --part ]; then # a part in its own shell, which ends with the first failure
  "part_$2"
  exit
fi

show() {
  printf '\n%s\n' "release check of $commit"
  [ ${#table[@]} -eq 0 ] || printf '%s\n' "${table[@]}"
}

main() {
  for each in "$@"; do
    if ! [[ " ${PARTS[*]} " = *" $each "* ]]; then
      echo "check_release: error: expected parts of ${PARTS[*]}, received $each" >&2
      exit 2
    fi
  done
  commit=$(git rev-parse HEAD)
  # Results of uncommitted changes are not kept.
  [ -z "$(git status --porcelain)" ] || commit=changed
  passed=.release/passed/$commit
  mkdir -p "$passed" .release/logs
  [ "$commit" != changed ] || rm -f "$passed"/*

  table=()
  status=0
  trap 'echo; echo "interrupted; the same command resumes"; show; exit 130' INT TERM
  for part in "${@:-${PARTS[@]}}"; do
    log=.release/logs/$part.log
    if [ $# -eq 0 ] && [ -e "$passed/$part" ]; then
      table+=("$(cat "$passed/$part")")
      continue
    fi
    echo "== $part (log: $log)"
    begin=$SECONDS result=passed
    bash "$0" --part "$part" > "$log" 2>&1 || result=FAILED
    row=$(printf '%-11s %-7s %6d s' "$part" "$result" $((SECONDS - begin)))
    figures=$(sed -n 's/^figure: /            /p' "$log")
    [ -z "$figures" ] || row+=$'\n'"$figures"
    echo "$row"
    table+=("$row")
    if [ $result = passed ]; then
      echo "$row" > "$passed/$part"
    else
      status=1
      tail -15 "$log"
    fi
  done
  show
  exit $status
}

main "$@"; exit # on one line, as the file may change while this runs for hours
