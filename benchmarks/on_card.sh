#!/bin/sh
# Measures every backend on a machine with an NVIDIA card, in at most six minutes.
#
#   benchmarks/on_card.sh [--quick] [--backends NAME ...] [--out FILE]
#
# Facts of the machine, the parity gate of each backend, milliseconds per window by batch size, and
# streams in one process by backend. Each part has its own time limit. The result is written after
# each part to benchmarks/results/card.json, so that what was measured stays when it is stopped.
# Ends with 2 where there is no card, 1 where a part failed (the file says why).
set -eu
root=$(CDPATH= cd -- "$(dirname -- "$0")/.." && pwd)
PYTHONPATH="$root:$root/engine:$root/web${PYTHONPATH:+:$PYTHONPATH}"
# Numpy's threads wait for one another at full load.
OPENBLAS_NUM_THREADS=1
export PYTHONPATH OPENBLAS_NUM_THREADS
exec "${PYTHON:-python3}" "$root/benchmarks/on_card.py" "$@"
