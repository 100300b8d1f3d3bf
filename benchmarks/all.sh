#!/bin/sh
# Renews the speed results with the shipped model, in under 40 minutes on two cores.
#
#   benchmarks/all.sh [--music DIR] [--data DIR] [--cache DIR] [--only NAME ...] [--quick --out DIR]
#
# Prints each part with its time. A part that fails leaves its old result, is named at the end, and
# makes the exit code 1. benchmarks/renew.py has the parts and their lengths.
set -eu
root=$(CDPATH= cd -- "$(dirname -- "$0")/.." && pwd)
PYTHONPATH="$root:$root/engine:$root/web${PYTHONPATH:+:$PYTHONPATH}"
# Numpy's threads wait for one another at full load.
OPENBLAS_NUM_THREADS=1
export PYTHONPATH OPENBLAS_NUM_THREADS
exec "${PYTHON:-python3}" "$root/benchmarks/renew.py" "$@"
