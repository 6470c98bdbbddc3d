PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.DEFAULT_GOAL := help
.PHONY: help install demo test test-slow lint format types check bench clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

install: $(VENV)/.installed ## create .venv and install the pinned packages

$(VENV)/.installed: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "error: $(PYTHON) is too old; Python 3.11 or later is needed: make PYTHON=python3.12 ..." >&2; exit 2; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	@touch $@

demo: install ## train Chinese-English on a real corpus, score it, show translations (about 12 minutes on 2 cores)
	$(BIN)/python scripts/get_corpus.py tatoeba-zh-en data/tatoeba-zh-en
	$(BIN)/transformer train configs/demo.yaml
	$(BIN)/transformer evaluate runs/demo --samples 10
	@echo 'try: $(BIN)/transformer translate runs/demo "你能让它变得更安全吗？"'

test: install ## the default tests: no network, no GPU
	$(BIN)/python -m pytest

test-slow: install ## the tests that take minutes or the network
	$(BIN)/python -m pytest -m slow

lint: install ## check style and formatting
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

format: install ## mend style and formatting
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

types: install ## check types
	$(BIN)/mypy

check: lint types test ## all that CI checks

bench: install ## measure training and decoding speed on this machine
	$(BIN)/python scripts/get_corpus.py tatoeba-zh-en data/tatoeba-zh-en
	$(BIN)/python scripts/benchmark.py train configs/demo.yaml
	$(BIN)/python scripts/benchmark.py decode configs/demo.yaml

clean: ## remove what make made: .venv and caches; corpora and runs stay
	rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache .hypothesis build *.egg-info
	find . -name __pycache__ -type d -not -path './$(VENV)/*' -prune -exec rm -rf {} +
