#!/usr/bin/env bash
# Puts what a bare GPU machine with JAX lacks into the folder .gpu, which git ignores: wheels for
# Python 3.12 on Linux x86-64, and CIFAR-10 as JPEGs. On that machine, in the working tree:
#   python3 -m pip install --no-index --no-deps --target /tmp/site .gpu/wheels/*.whl
#   PYTHONPATH=/tmp/site python3 tools/gpu_report.py --minutes=8 --out=DIR
#
#   bash tools/pack_for_gpu.sh [--data_dir=DIR]
# DIR (or LBKERAS_DATA_DIR) is TensorFlow Datasets' folder with cifar10 in it. A cifar10_jpeg.npz in
# DIR or its parent is copied; otherwise one is made from DIR, with quality 75.
# PYTHON is an interpreter with pip, and with lbkeras if the data have to be made.
set -euo pipefail
cd "$(dirname "$0")/.."
python=${PYTHON:-python3}
data_dir=${LBKERAS_DATA_DIR:-}
for argument in "$@"; do
  case $argument in
    --data_dir=*) data_dir=${argument#*=} ;;
    *) echo "pack_for_gpu.sh: expected --data_dir=DIR, received $argument" >&2 && exit 2 ;;
  esac
done

rm -rf .gpu/wheels
mkdir -p .gpu/wheels
platforms=()
for glibc in 2_28 2_27 2_17; do platforms+=(--platform "manylinux_${glibc}_x86_64"); done
"$python" -m pip download -q --no-deps --only-binary=:all: --python-version 3.12 \
  --implementation cp "${platforms[@]}" --platform manylinux2014_x86_64 -d .gpu/wheels \
  keras==3.15.1 optree==0.20.0 namex==0.1.0 ml_collections==1.1.0

if [ -n "$data_dir" ]; then
  ready=
  for folder in "$data_dir" "$data_dir/.."; do
    [ -f "$folder/cifar10_jpeg.npz" ] && ready=$folder/cifar10_jpeg.npz && break
  done
  if [ -n "$ready" ]; then
    cp -f "$ready" .gpu/cifar10_jpeg.npz
    chmod u+w .gpu/cifar10_jpeg.npz
  else
    "$python" tools/pack_cifar10.py "$data_dir" .gpu/cifar10_jpeg.npz
  fi
fi
du -sh .gpu/* .gpu
[ "$(du -sm .gpu | cut -f1)" -le 50 ] || { echo "pack_for_gpu.sh: expected at most 50 MiB" >&2; exit 1; }
