#!/bin/sh
# Everything there is to measure on one CUDA machine, part by part. Nothing is built or uploaded.
#
#   sh bench/gpu.sh                       # all parts, results in bench/results/gpu/
#   sh bench/gpu.sh machine correctness   # some of them
#   PYTHON=python3 OUT=/tmp/gpu sh bench/gpu.sh train train train
#
# Each part ends within nine minutes and writes OUT/<part>.json as soon as it knows something; `train`
# goes on where the last call stopped. `python bench/gpu.py --help` says what the parts are.
set -u
cd "$(dirname "$0")/.."
python=${PYTHON:-.venv/bin/python}
out=${OUT:-bench/results/gpu}
failed=
for part in ${*:-machine correctness panel stages train}; do
  echo "== $part"
  timeout 540 "$python" bench/gpu.py "$part" --out "$out" || failed="$failed $part"
done
"$python" bench/gpu.py report --out "$out"
[ -z "$failed" ] || { echo "did not end well:$failed" >&2; exit 1; }
