# Sourced by the other scripts: makes .venv if needed, installs lbkeras with the extras in $EXTRAS,
# and puts it on the PATH. Set PYTHON to choose the interpreter (3.11 or newer).
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
PYTHON=${PYTHON:-python3}
if ! "$PYTHON" -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then
  echo "lbkeras: error: PYTHON: expected Python 3.11 or newer, received $("$PYTHON" --version 2>&1)" >&2
  exit 2
fi
[ -x .venv/bin/python ] || "$PYTHON" -m venv .venv
# The installation is up to date as long as setup.py and the wanted extras have not changed.
wanted="${EXTRAS:-} $(cksum setup.py)"
if [ "$(cat .venv/lbkeras-installed 2>/dev/null || true)" != "$wanted" ]; then
  echo "installing lbkeras${EXTRAS:+ with $EXTRAS} into .venv (about 2 GB, one to three minutes) ..."
  # Without compiling, which would be done for every file, on one core, before anything runs.
  .venv/bin/python -m pip install --quiet --no-compile --disable-pip-version-check \
    --editable ".${EXTRAS:-}"
  echo "$wanted" > .venv/lbkeras-installed
  installed_now=yes
fi
unset PYTHONDONTWRITEBYTECODE # each process would compile TensorFlow and Keras again
export PATH="$PWD/.venv/bin:$PATH"
export TF_CPP_MIN_LOG_LEVEL=${TF_CPP_MIN_LOG_LEVEL:-3}
