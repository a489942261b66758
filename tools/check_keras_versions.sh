#!/usr/bin/env bash
# Tests lbkeras on the lowest supported Keras, the installed one and the newest pre-release.
#   tools/check_keras_versions.sh                  all three
#   tools/check_keras_versions.sh 3.13.2 nightly   these: numbers, "installed" or "nightly"
EXTRAS='[test,jax,docs]' source "$(dirname "$0")/environment.sh"
python tools/check_keras_versions.py "$@"
