#!/usr/bin/env bash
# Tests the package as users get it: builds sdist and wheel from the commit, installs the wheel into
# new environments in another folder, and uses it there. PYTHON chooses the interpreter.
#   tools/check_wheel.sh
#   PYTHON=python3.13 tools/check_wheel.sh
# Lines that start with `figure:` are for the table of tools/check_release.sh.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
PYTHON=${PYTHON:-python3}
ROOT=$PWD
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
# Nothing of the clone may be on the path.
unset PYTHONPATH
export CUDA_VISIBLE_DEVICES=-1
unset TF_CPP_MIN_LOG_LEVEL

step() { printf '\n== %s (%d s)\n' "$*" "$SECONDS"; }

install() { # ENVIRONMENT ARGUMENT...
  "$folder/$1/bin/python" -m pip install --quiet --disable-pip-version-check "${@:2}"
}

build() {
  step "building sdist and wheel"
  mkdir "$folder/source" "$folder/elsewhere"
  git archive HEAD | tar -x -C "$folder/source"
  "$PYTHON" -m venv "$folder/venv"
  install venv build
  # One wheel from the sdist, and one directly from the source.
  "$folder/venv/bin/python" -m build --outdir="$folder/dist" "$folder/source" > "$folder/build.log"
  "$folder/venv/bin/python" -m build --wheel --outdir="$folder/direct" "$folder/source" \
    >> "$folder/build.log"
  wheel=$(echo "$folder"/dist/*.whl)
  "$folder/venv/bin/python" - "$wheel" "$folder"/direct/*.whl << 'END'
import sys, zipfile

first, second = (
    {name: wheel.read(name) for name in wheel.namelist() if not name.endswith("/RECORD")}
    for wheel in map(zipfile.ZipFile, sys.argv[1:])
)
different = {name for name in first | second if first.get(name) != second.get(name)}
if different:
    sys.exit(f"the sdist's wheel differs: {sorted(different)}")
tops = {name.split("/")[0] for name in first if ".dist-info/" not in name}
if tops != {"lbkeras"}:
    sys.exit(f"top level of the wheel: expected lbkeras alone, received {sorted(tops)}")
print(f"{len(first)} files, the same from the sdist and from the source")
END
  rm -rf "$folder/source"
}

use() { # as a user who has the package and nothing else
  step "installing"
  install venv "$wheel"
  export PATH="$folder/venv/bin:$PATH"
  cd "$folder/elsewhere"
  python -c "
import importlib.metadata, importlib.util, pathlib, sys, lbkeras
where, installed = pathlib.Path(lbkeras.__file__).resolve(), importlib.metadata.version('lbkeras')
if not where.is_relative_to(sys.prefix): sys.exit(f'lbkeras is imported from {where}')
if installed != lbkeras.__version__: sys.exit(f'the version of the wheel is {installed}')
if importlib.util.find_spec('configs'): sys.exit('the wheel installs a package named configs')"
  step "a script"
  cat > script.py << 'END'
import lbkeras
from lbkeras.callbacks import BatchSizeScheduler

train = lbkeras.data.load("digits", batch_size=64)
END
  python script.py > notices.txt 2>&1
  [ ! -s notices.txt ] || { cat notices.txt; exit 1; }

  step "the command"
  lbkeras --version
  python -m lbkeras --version
  lbkeras --help > help.txt
  grep -q "usage: lbkeras COMMAND" help.txt
  lbkeras doctor
  lbkeras configs | tee configs.txt
  grep -q "^smith2018: " configs.txt
  bash --norc --noprofile -c 'source <(lbkeras completion bash); complete -p lbkeras'
  lbkeras plan --config=smith2018:paper_cifar10 | tee plan.txt
  grep -q "29,040 updates" plan.txt

  step "a copied config"
  cp "$(lbkeras configs smith2018 | sed -n 's/^file: //p')" my_own.py
  sed -i 's/epochs=40,/epochs=36,/' my_own.py
  lbkeras plan --config=my_own.py:digits > plan.txt
  grep -q " 33-36 " plan.txt

  step "train and replicate"
  local short=(--config=smith2018:digits --config.plan.epochs=3 "--config.plan.boundaries=(1,2)")
  lbkeras train "${short[@]}" --arm=large_batch_naive --workdir=run
  grep -q '"status": "finished"' run/record.json
  lbkeras replicate "${short[@]}" --workdir=replication --seeds=1
  rm replication/report.md
  lbkeras report --workdir=replication
  grep -q "increase_batch" replication/report.md

  step "types"
  install venv mypy
  cp "$ROOT/tests/typing/uses.py" .
  python -m mypy --strict --warn-unused-ignores uses.py
}

use_with_jax_alone() {
  step "JAX without TensorFlow"
  "$PYTHON" -m venv "$folder/jax"
  install jax --requirement "$ROOT/requirements-jax.txt"
  install jax --no-deps "$wheel"
  KERAS_BACKEND=jax "$folder/jax/bin/python" -c "
import keras, lbkeras, numpy as np, sys
model = lbkeras.models.small_cnn(input_shape=(8, 8, 1), num_classes=10)
model.compile(lbkeras.optimizers.LARS(0.1), keras.losses.SparseCategoricalCrossentropy(from_logits=True))
model.fit(np.zeros((64, 8, 8, 1)), np.zeros(64), verbose=0)
assert lbkeras.layers.ShakeDrop and lbkeras.schedules.EpochLearningRateSchedule
assert 'tensorflow' not in sys.modules"
  "$folder/jax/bin/lbkeras" plan --config=smith2018:digits
  "$folder/jax/bin/lbkeras" doctor
  "$folder/jax/bin/lbkeras" replicate --config=smith2018:digits --config.plan.epochs=3 \
    "--config.plan.boundaries=(1,2)" --workdir=replication_on_jax --seeds=1
  grep -q "increase_batch" replication_on_jax/report.md
}

build
use
use_with_jax_alone
step "done"
version=$("$PYTHON" -c 'import platform; print(platform.python_version())')
echo "figure: $(basename "$wheel"), $(($(wc -c < "$wheel") / 1024)) kB, on Python $version: the sdist's wheel is" \
  "the same; imports, plans, trains, replicates, reports; JAX alone; $SECONDS s"
