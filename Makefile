# make demo      set up, then the main job on simulated cameras
# make test      set up, then ruff, mypy, import-linter and the fast tests
# make test-all  the same with all tests
# make setup     the virtual environment alone
# make dev       the virtual environment with the tools of the checks

PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin

FAILED := echo "The packages could not be installed (pip says why above): phototrace needs a package index it can reach and 2 GB of disk."; exit 1

.PHONY: demo test test-all lint setup dev clean

demo: setup
	$(BIN)/phototrace demo --out demo

setup: $(VENV)/installed
dev: $(VENV)/installed-dev

test: lint
	$(BIN)/pytest

test-all: lint
	$(BIN)/pytest -m ""

lint: dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

$(VENV)/bin/python:
	@test -n "$(PYTHON)" || { echo "phototrace needs Python 3.11 or newer: install it, or give its path with make PYTHON=..."; exit 2; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "phototrace needs Python 3.11 or newer, but $(PYTHON) is older: give another with make PYTHON=..."; exit 2; }
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || { echo "$(PYTHON) cannot make virtual environments: install its venv package (on Debian: apt-get install python3-venv)."; exit 2; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/installed: $(VENV)/bin/python pyproject.toml constraints.txt
	@$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable . || { $(FAILED); }
	@touch $@

$(VENV)/installed-dev: $(VENV)/bin/python pyproject.toml constraints.txt
	@$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable ".[dev]" || { $(FAILED); }
	@touch $@ $(VENV)/installed

clean:
	rm -rf $(VENV) demo
