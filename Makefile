# Everything a new machine needs is made here: Python 3.11 or later, pip, venv and make are enough.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

# pip's advice about itself, and about who runs it, is not for who installs Tombola.
PIP := PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore $(BIN)/python -m pip install --quiet --quiet

.PHONY: install demo docs test test-all test-pythons check format lint types bench lines clean

install: $(VENV)/.installed

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: pyproject.toml | $(BIN)/python
	@echo "installing Tombola and what it needs into $(VENV): a few minutes, once"
	@$(PIP) --editable .
	@touch $@
	@echo "installed: $(BIN)/tombola says what to try first"

$(VENV)/.developer: pyproject.toml | $(BIN)/python
	@echo "installing what checks need into $(VENV): a few minutes, once"
	@$(PIP) --editable '.[dev]'
	@touch $@ $(VENV)/.installed

$(VENV)/.bench: $(VENV)/.developer
	@echo "installing PyTorch into $(VENV)"
	@$(PIP) --editable '.[dev,bench]'
	@touch $@

$(VENV)/.docs: pyproject.toml | $(BIN)/python
	@echo "installing what the site needs into $(VENV): a few minutes, once"
	@$(PIP) --editable '.[docs]'
	@touch $@ $(VENV)/.installed

# Iterative magnitude pruning on MNIST-1D with its controls: table, claims, figures and a page.
demo:
	@echo "make demo: installs Tombola into $(VENV), trains 320 small networks (minutes on two cores), writes report/index.html"
	@$(MAKE) --no-print-directory --silent install
	@$(BIN)/tombola demo

# The site: nothing in it is loaded from elsewhere, and a warning ends it. Tutorials are executed, and kept as long as they stay the same.
docs: $(VENV)/.docs
	$(BIN)/python -m sphinx --fail-on-warning --keep-going --jobs auto docs docs/_build/html
	@echo "open docs/_build/html/index.html"

# A file's tests share what they compile: a worker takes files in a row, and of another's only once its own are done.
test: $(VENV)/.developer
	$(BIN)/python -m pytest -n auto --maxprocesses 8 --dist worksteal -m "not slow"

# Those that take minutes, too.
test-all: $(VENV)/.developer
	$(BIN)/python -m pytest -n auto --maxprocesses 8 --dist worksteal

# The tests that depend on versions, on every other Python that is here, each with the newest JAX that it can have.
PYTHONS ?= python3.12 python3.13
VERSIONED := tests/test_core.py tests/test_identity.py tests/test_models.py tests/test_training.py tests/test_engine.py
test-pythons:
	@for python in $(PYTHONS); do \
	  $$python -c "" 2>/dev/null || { echo "$$python: not here, skipped"; continue; }; \
	  folder=.venv-$$(basename $$(dirname $$(dirname $$(command -v $$python))))-$$(basename $$python); \
	  $$python -m venv $$folder && $$folder/bin/python -m pip install --quiet --editable '.[test]' || exit 1; \
	  echo "$$($$folder/bin/python --version), JAX $$($$folder/bin/python -c 'import jax; print(jax.__version__)')"; \
	  $$folder/bin/python -m pytest -n auto --maxprocesses 8 --dist worksteal $(VERSIONED) || exit 1; \
	done

check: format lint types test-all

format: $(VENV)/.developer
	$(BIN)/ruff format --check .

lint: $(VENV)/.developer
	$(BIN)/ruff check .

types: $(VENV)/.developer
	$(BIN)/mypy

bench: $(VENV)/.bench
	$(BIN)/python benchmarks/bench.py --output benchmarks/results

lines:
	$(PYTHON) benchmarks/lines.py

clean:
	rm -rf $(VENV) .venv-* build dist report docs/_build docs/_made
