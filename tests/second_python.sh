#!/usr/bin/env bash
# Runs the fast tests on a second Python version, without torch.
# Looks for Python 3.13 and 3.12 on PATH, in pyenv and in uv. Where there is none, it says so.
set -euo pipefail
cd "$(dirname "$0")/.."

find_python() {
  local version=$1 candidate
  for candidate in "python$version" "$HOME/.pyenv/versions/$version".*/bin/python; do
    if "$candidate" -c 'import venv' 2> /dev/null; then
      echo "$candidate"
      return 0
    fi
  done
  command -v uv > /dev/null && UV_PYTHON_DOWNLOADS=never uv python find "$version" 2> /dev/null
}

first=$("${PYTHON:-python3}" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
for version in 3.13 3.12; do
  [ "$version" != "$first" ] || continue
  python=$(find_python "$version") || continue
  environment=.venv-$version
  if [ ! -e "$environment/.installed" ] || [ pyproject.toml -nt "$environment/.installed" ]; then
    "$python" -m venv --clear "$environment"
    "$environment/bin/python" -m pip install --quiet --editable . \
      hypothesis onnx psutil pytest pytest-timeout pytest-xdist
    touch "$environment/.installed"
  fi
  echo "fast tests on $("$environment/bin/python" --version)"
  exec "$environment/bin/python" -m pytest -n 3 --dist loadfile --quiet \
    tests/test_layers.py tests/mer_engine/datasets tests/mer_engine/test_engine.py \
    tests/realtime_mer/core tests/realtime_mer/live tests/realtime_mer/server \
    tests/realtime_mer/test_api.py tests/realtime_mer/test_client.py
done
echo "no second Python version on this machine: the tests ran on $first alone"
