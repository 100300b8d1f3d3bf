# `make serve` listens and shows the page; `make test` runs every check and test.
# `make release` makes what is published, in $(DIST). All make the Python environment that they need,
# in $(VENV).
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
# torch's GPU libraries are large; a slow line should not fail the installation
export PIP_DEFAULT_TIMEOUT ?= 120
export PIP_DISABLE_PIP_VERSION_CHECK = 1
# Three test processes, also on two cores: each waits a third of its time for clocks, pages and programs.
# Idle BLAS and OpenMP threads would spin and take the time of the others.
test: export OPENBLAS_NUM_THREADS ?= 1
test: export GOMP_SPINCOUNT ?= 0
INSTALL := $(BIN)/python -m pip install
NEED_PIP := $(BIN)/python -m pip --version > /dev/null 2>&1 || $(BIN)/python -m ensurepip || \
  { echo "$(VENV) has no pip; remove it (make clean) and run make again" >&2; exit 1; }

.PHONY: serve test check style wheel sdist sbom release audit clean

serve: $(VENV)/.installed
	$(BIN)/realtime-mer serve $(ARGS)

test: $(VENV)/.installed-test
	bash tests/install_system_packages.sh
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/pytest -n 3 --dist loadfile $(ARGS)
	$(if $(ARGS),,PYTHON=$(BIN)/python bash tests/second_python.sh)

check: $(VENV)/.installed-test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

style: $(VENV)/.installed-test
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# Known vulnerabilities of the installed packages; needs the network.
audit: $(VENV)/.installed
	$(INSTALL) --quiet pip-audit && $(BIN)/pip-audit --skip-editable

# The same checkout and build backend give the same bytes, whatever the folder, times and file modes.
DIST ?= dist
VERSION = $(shell sed -n 's/^__version__ = "\(.*\)"/\1/p' realtime_mer/__init__.py)
WHEEL = $(DIST)/realtime_mer-$(VERSION)-py3-none-any.whl
SDIST = $(DIST)/realtime_mer-$(VERSION).tar.gz

release: wheel sdist sbom

wheel: $(VENV)/.installed-release
	$(BIN)/python -m build --wheel --outdir "$(DIST)" .
	$(BIN)/python -m twine check --strict "$(WHEEL)"

sdist: $(VENV)/.installed-release
	$(BIN)/python -m build --sdist --outdir "$(DIST)" .
	$(BIN)/python -m twine check --strict "$(SDIST)"

# Installs the wheel into an empty environment outside the checkout, runs it there, and lists what came
# with it (CycloneDX). The generator takes the version of the root component from a pyproject only.
sbom: wheel
	@set -e; clean=$$(mktemp -d); trap 'rm -rf "$$clean"' EXIT; \
	$(BIN)/python -m venv --without-pip "$$clean/env"; \
	$(BIN)/python -m pip --python "$$clean/env/bin/python" install --quiet "$(WHEEL)"; \
	echo "installed in an empty environment:" \
	  "$$(cd "$$clean" && env -u PYTHONPATH env/bin/realtime-mer --version)"; \
	(cd "$$clean" && env -u PYTHONPATH env/bin/realtime-mer analyze demo -o demo.csv); \
	sed 's/^dynamic = .*/version = "$(VERSION)"/' pyproject.toml > "$$clean/pyproject.toml"; \
	$(BIN)/python -m cyclonedx_py environment --pyproject "$$clean/pyproject.toml" \
	  --output-reproducible --output-file "$(DIST)/realtime-mer-$(VERSION).cdx.json" "$$clean/env"

# Debian's Python comes without ensurepip, which the package python3-venv holds. uv needs neither.
$(BIN)/python:
	@make_it=; if $(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2> /dev/null; then \
	  if $(PYTHON) -c 'import ensurepip, venv' 2> /dev/null; then make_it="$(PYTHON) -m venv"; \
	  else lacks="$(PYTHON) cannot make a virtual environment: the module venv or ensurepip is"; \
	    lacks="$$lacks missing. Debian, Ubuntu: sudo apt install python3-venv"; fi; \
	else lacks="realtime-mer needs Python 3.11 or newer; $(PYTHON) is missing or older."; \
	  lacks="$$lacks Name another one, for example: make serve PYTHON=python3.12"; fi; \
	if [ -z "$$make_it" ] && command -v uv > /dev/null; then \
	  make_it="uv venv --seed --allow-existing --python >=3.11"; fi; \
	if [ -z "$$make_it" ]; then echo "$$lacks" >&2; exit 1; fi; \
	echo "making a Python environment in $(VENV)"; \
	if ! $$make_it "$(VENV)"; then \
	  echo "the Python environment $(VENV) could not be made; the reason is above" >&2; \
	  rm -f $(BIN)/python; exit 1; \
	fi

$(VENV)/.installed: pyproject.toml | $(BIN)/python
	@echo "installing realtime-mer and the packages that it needs (about 200 MB) in $(VENV)"
	@$(NEED_PIP)
	@$(INSTALL) --editable .
	@touch $@
	@echo "installed; the command is $(BIN)/realtime-mer (try: $(BIN)/realtime-mer doctor)"

$(VENV)/.installed-test: pyproject.toml | $(BIN)/python
	@echo "installing realtime-mer and the packages of its tests (several GB) in $(VENV)"
	@$(NEED_PIP)
	@$(INSTALL) --upgrade 'pip>=25.1' # the first that knows dependency groups
	@$(INSTALL) --editable '.[train,tensorrt,midi,dmx,mqtt,lsl,link,library,cluster]' --group dev
	@touch $@ $(VENV)/.installed

$(VENV)/.installed-release: pyproject.toml | $(BIN)/python
	@$(NEED_PIP)
	@$(INSTALL) --quiet --upgrade 'pip>=25.1' # the first that knows dependency groups
	@$(INSTALL) --quiet --group release
	@touch $@

clean:
	rm -rf $(VENV) .venv-3.* build dist .pytest_cache .mypy_cache .ruff_cache
