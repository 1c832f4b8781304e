# make demo, make test: each sets up .venv first; `make setup` alone only does that.
SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.snnhw-setup
LAVA := lava-nc==0.10.0
JOBS ?= 2
ARGS ?=
MODEL ?= stbp_scnn
SECONDS := 600

# One thread each for the numeric libraries: tests run in $(JOBS) processes.
TEST_ENV := OMP_NUM_THREADS=1 MKL_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1
PYTEST := $(TEST_ENV) $(BIN)/python -m pytest -n $(JOBS) --dist loadfile

# The rules, the passes, the mapper and the engines on small networks; whole shipped networks and Lava are left out.
FAST := tests/test_imports.py tests/test_errors_are_tested.py tests/unit/test_*.py \
  $(addprefix tests/unit/,quantize mapping chip engines lowering comparison) \
  tests/property/test_fixed_properties.py tests/property/test_bounds_properties.py \
  $(addprefix --ignore=tests/unit/,lowering/test_depth.py lowering/test_lag.py engines/test_onnx_examples.py)

.DEFAULT_GOAL := help
.PHONY: help setup test test-fast test-slow shape mutants browser docs fuzz kills versions frontends netx sanafe demo bench systems lint train clean

help: ## this list
	@grep -E '^[a-z-]+:.*##' Makefile | sed -E 's/:[^#]*## /\t/' | expand -t 14

setup: $(STAMP) ## build .venv (seconds when nothing changed)

# An existing .venv is completed, never emptied. Lava declares Python 3.10 and numpy <2, yet runs on newer ones.
$(STAMP): pyproject.toml constraints.txt Makefile
	@$(BIN)/python -m pip --version >/dev/null 2>&1 || $(PYTHON) -c 'import sys; \
	  sys.exit(sys.version_info < (3, 11) and f"snnhw needs Python 3.11 or newer, found {sys.version.split()[0]}; try: make PYTHON=python3.11 $(MAKECMDGOALS)")'
	@$(BIN)/python -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[all,dev]'
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --ignore-requires-python $(LAVA)
	@touch $(STAMP)

test: setup ## the tests, without the slow ones (ARGS="-k word" passes options on)
	$(PYTEST) -m "not slow" $(ARGS)

test-fast: setup ## what to run after every edit: rules, passes, mapper and engines, a minute on two cores
	$(PYTEST) -m "not slow and not lava" $(FAST) $(ARGS)

test-slow: setup ## the slow tests
	$(PYTEST) -m slow $(ARGS)

mutants: setup ## which faults planted in rules, scales, mapper and time no near test finds (ARGS="mapping/partition" for some)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[mutants]'
	JOBS=$(JOBS) $(BIN)/python -m tests.mutants $(ARGS)

browser: setup ## the report in Chromium (Debian's package): widths, colour schemes, axe, sorting
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[browser]'
	$(TEST_ENV) $(BIN)/python -m pytest -q tests/browser

docs: setup ## build/site: the pages and the Python reference; warnings are errors
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[docs]'
	$(BIN)/python -m sphinx -q -W --keep-going -b html docs build/site

fuzz: setup ## mutants of every file format that is read, for SECONDS (ARGS="--kinds nir npz" for some formats)
	$(TEST_ENV) $(BIN)/python -m tests.attack.fuzz $(SECONDS) --jobs $(JOBS) $(ARGS)

kills: setup ## SIGKILL at random moments of every command that writes (ARGS=300)
	$(TEST_ENV) $(BIN)/python -m tests.attack.kills $(ARGS)

versions: setup ## tests with the oldest and newest dependencies, Python 3.12 and 3.13 (ARGS="oldest 3.13" for some)
	$(BIN)/python -m tests.versions $(ARGS)

frontends: setup ## tests/frontends against real frameworks, and docs/frontends.md (ARGS="norse sinabs" for some)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[notebooks]'
	$(BIN)/python -m tests.frontends.environments $(ARGS)

netx: setup ## .net files in and out against the real lava-dl netx (fetches 68 MB)
	$(BIN)/python -m tests.conformance.lavadl

sanafe: setup ## random meshes in SANA-FE (PyPI, its own folder) and here: spikes, energies, times of every step
	$(BIN)/python -m tests.conformance.sanafe_agreement $(ARGS)

demo: setup ## compile, run and compare the shipped models
	$(BIN)/snnhw demo $(ARGS)

bench: setup ## time the engines
	$(BIN)/python benchmarks/engines.py $(ARGS)

systems: setup ## docs/systems.md again: every shipped network on both targets
	$(BIN)/python benchmarks/systems.py $(ARGS)

lint: setup ## ruff and mypy
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

shape: ## what each file knows of, the longest files and functions, and how much code there is
	@$(PYTHON) -m tests.shape

train: setup ## train a shipped model again (MODEL=stbp_scnn; see snnhw train --list)
	$(BIN)/snnhw train $(MODEL) $(ARGS)

clean: ## remove caches and builds, keep .venv and runs/
	rm -rf build dist .pytest_cache .hypothesis .mypy_cache .ruff_cache
	find snnhw tests examples benchmarks -name __pycache__ -type d -prune -exec rm -rf {} +
