#!/bin/sh
# Everything there is to measure on one CUDA machine, part by part. Nothing is built or uploaded.
#
#   sh bench/gpu.sh                       # all parts, results in bench/results/gpu/
#   sh bench/gpu.sh machine correctness   # some of them
#   PYTHON=python3 OUT=/tmp/gpu sh bench/gpu.sh train train train
#
#   BENCH_ARGS="--scale tiny --device cpu" sh bench/gpu.sh     # shows that all of it runs
#   BENCH_ARGS=--no-triton sh bench/gpu.sh                     # without kernels of our own
#
# PYTHON is .venv/bin/python where there is one, else python3; it needs torch with CUDA, and of this
# project's dependencies filelock, numpy, nvidia-ml-py, polars, psutil, pyarrow, pydantic, rich,
# scipy, tomli-w and typer. The project itself need not be installed.
#
# Each part ends within nine minutes and writes OUT/<part>.json as soon as it knows something; `train`
# goes on where the last call stopped. `python -m bench.gpu --help` says what the parts are.
set -u
cd "$(dirname "$0")/.."
[ -x .venv/bin/python ] && found=.venv/bin/python || found=python3
python=${PYTHON:-$found}
out=${OUT:-bench/results/gpu}
export PYTHONPATH="$PWD${PYTHONPATH:+:$PYTHONPATH}"
failed=
for part in ${*:-machine correctness panel stages train}; do
  echo "== $part"
  # shellcheck disable=SC2086  # BENCH_ARGS are several words
  timeout 540 "$python" -m bench.gpu "$part" --out "$out" ${BENCH_ARGS:-} || failed="$failed $part"
done
"$python" -m bench.gpu report --out "$out"
[ -z "$failed" ] || { echo "did not end well:$failed" >&2; exit 1; }
