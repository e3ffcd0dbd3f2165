# `make help` lists everything. The two that matter: make demo, make test.
SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv
RUN := $(VENV)/bin
STAMP := $(VENV)/.assay-set-up
# Without bytecode every process compiles its modules anew, and start-up times triple.
unexport PYTHONDONTWRITEBYTECODE
export DO_NOT_TRACK := 1
export DVC_NO_ANALYTICS := true
export PREFECT_SERVER_ANALYTICS_ENABLED := false

.DEFAULT_GOAL := help
.PHONY: help setup demo test acceptance lint bench backtest simulate up down lock

help:  ## This list
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 12

setup: $(STAMP)  ## Make .venv from the hash-pinned lock file
$(STAMP): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Assay needs Python 3.11 or newer; $(PYTHON) is $$($(PYTHON) --version). Name another: make setup PYTHON=python3.12"; exit 2; }
	@test -x .assay/tools/bin/uv || { $(PYTHON) -m venv .assay/tools && .assay/tools/bin/pip install --quiet --disable-pip-version-check uv; }
	@test -x $(RUN)/python || .assay/tools/bin/uv --system-certs venv --quiet --python $(PYTHON) $(VENV)
	@.assay/tools/bin/uv --system-certs pip install --quiet --python $(RUN)/python --require-hashes --compile-bytecode -r requirements.lock
	@.assay/tools/bin/uv --system-certs pip install --quiet --python $(RUN)/python --no-deps --no-build-isolation -e .
	@touch $@

demo: setup  ## Six acts on real data: release, watch, refuse, retrain, roll back, account
	@$(RUN)/python -m tasks.demo

test: setup lint  ## Format, lint, types, floors, and all tests
	@OMP_NUM_THREADS=1 $(RUN)/python -m pytest -q -n 2 --dist loadfile --no-loadscope-reorder --durations=25

acceptance: setup  ## Long runs from outside, an hour or two: all models, the demo, forgeries, kills, swaps, strange requests, pages
	@OMP_NUM_THREADS=1 $(RUN)/python -m pytest -q -m acceptance -o timeout=2700 --durations=15

lint: setup  ## Lint, format, types and floors alone
	@$(RUN)/ruff check .
	@$(RUN)/ruff format --check --quiet .
	@$(RUN)/mypy
	@$(RUN)/lint-imports --no-cache

bench: setup  ## Measure ours and the peers in one run, as ratios
	@for script in tests/benchmarks/*.py; do echo "== $$script"; OMP_NUM_THREADS=1 $(RUN)/python -m "tests.benchmarks.$$(basename "$$script" .py)" || exit 1; done

backtest: setup  ## Replay real dated data: estimates, realized values and the trigger; writes docs/backtests.md
	@$(RUN)/python -m tests.backtests

simulate: setup  ## Measure the error rates of all statistics and write docs/evidence/, in an hour or more
	@$(RUN)/python -m tests.statistics

up: setup  ## Keep the local system running: Prefect with its UI, a worker, the prediction service
	@$(RUN)/assay up

down: setup  ## Stop just what `make up` started
	@$(RUN)/assay down

lock: setup  ## Compile requirements.lock anew, with hashes and without addresses
	@.assay/tools/bin/uv --system-certs pip compile pyproject.toml --all-extras --universal --python-version 3.11 --generate-hashes --no-strip-extras --no-header --no-annotate --no-emit-index-url --no-emit-find-links --quiet --output-file requirements.lock
