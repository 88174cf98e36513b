# Everything a new machine needs is made here: Python 3.11 or later, pip, venv and make are enough.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: install demo test check format lint types bench clean

install: $(VENV)/.installed

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --editable .
	@touch $@
	@echo "installed: $(BIN)/tombola --help"

$(VENV)/.developer: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	@touch $@ $(VENV)/.installed

$(VENV)/.bench: $(VENV)/.developer
	$(BIN)/python -m pip install --quiet --editable '.[dev,bench]'
	@touch $@

# Iterative magnitude pruning on MNIST-1D with its controls: table, claims, figures and a page.
demo: install
	$(BIN)/tombola run frankle2019.sparsity --output report

# A file's tests share what they compile, so that each file is one worker's.
test: $(VENV)/.developer
	$(BIN)/python -m pytest -n auto --maxprocesses 8 --dist loadfile

check: format lint types test

format: $(VENV)/.developer
	$(BIN)/ruff format --check .

lint: $(VENV)/.developer
	$(BIN)/ruff check .

types: $(VENV)/.developer
	$(BIN)/mypy

bench: $(VENV)/.bench
	$(BIN)/python benchmarks/bench.py --output benchmarks/results.json

clean:
	rm -rf $(VENV) build dist report
