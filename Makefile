PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/$(if $(filter Windows_NT,$(OS)),Scripts,bin)

.DEFAULT_GOAL := help
.PHONY: help install demo test test-slow test-processors lint format types check bench torture fuzz release clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-15s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

install: $(VENV)/.installed ## create .venv and install the pinned packages

$(VENV)/.installed: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "error: $(PYTHON) is too old; Python 3.11 or later is needed: make PYTHON=python3.12 ..." >&2; exit 2; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	@touch $@

demo: install ## train Chinese-English on a real corpus, score it, show translations (about 10 minutes on 2 cores)
	$(BIN)/python scripts/get_corpus.py tatoeba-zh-en data/tatoeba-zh-en
	$(BIN)/transformer train configs/demo.yaml
	$(BIN)/transformer evaluate runs/demo --samples 10
	@echo 'try: $(BIN)/transformer translate runs/demo "你能让它变得更安全吗？"'

test: install ## the default tests: no network, no GPU (about 4 minutes on 2 cores)
	$(BIN)/python -m pytest

test-slow: install ## the tests that take minutes or the network, one after another
	$(BIN)/python -m pytest -m slow -n 0

# The limits that oneDNN and PyTorch know show here what a processor without 8-bit dot products, or without AVX-512, would.
NUMERIC := tests/model tests/decoding tests/training/test_loss.py tests/training/test_optimizer.py tests/training/methods \
	tests/integration/test_golden.py tests/runtime/test_device.py -k 'not compiled'

test-processors: install ## the numeric tests as on processors that can do less (about 2 minutes on 2 cores)
	ONEDNN_MAX_CPU_ISA=AVX2 $(BIN)/python -m pytest $(NUMERIC)
	ONEDNN_MAX_CPU_ISA=AVX512_CORE $(BIN)/python -m pytest $(NUMERIC)
	ATEN_CPU_CAPABILITY=avx2 $(BIN)/python -m pytest $(NUMERIC)

lint: install ## check style and formatting
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

format: install ## mend style and formatting
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

types: install ## check types
	$(BIN)/mypy

check: lint types test test-processors ## all that CI checks

# Multi30k, as docs/measured/performance.md has it, whose measured part this writes. Each of the PEER_ variables may name another
# toolkit's benchmark, a command that prints tokens_per_s= or sents_per_s=; it then runs in turn with ours.
BENCH_RUN := runs/benchmark_small
SMALL := configs/benchmark_small.yaml
REPORTS := runs/benchmarks
BENCHMARK := $(BIN)/python scripts/lab/benchmark.py
against = $(if $(1),--against '$(1)')

bench: install ## measure speeds on this machine, and rewrite the tables of docs/measured/performance.md (about 10 minutes)
	test -e data/multi30k-en-de || $(BIN)/python scripts/get_corpus.py multi30k-en-de data/multi30k-en-de
	mkdir -p $(REPORTS)
	$(BENCHMARK) train $(SMALL) --json $(REPORTS)/train_small.json $(call against,$(PEER_TRAIN))
	$(BENCHMARK) train configs/benchmark_base.yaml --updates 4 --json $(REPORTS)/train_base.json $(call against,$(PEER_TRAIN_BASE))
	$(BIN)/transformer train $(SMALL) training.max_updates=600 training.batch_tokens=2048 validation.every=600
	$(BENCHMARK) decode $(BENCH_RUN) decoding.patience=1.0 --json $(REPORTS)/decode_beam_5.json $(call against,$(PEER_DECODE))
	$(BENCHMARK) decode $(BENCH_RUN) decoding.beam_size=1 --json $(REPORTS)/decode_greedy.json $(call against,$(PEER_DECODE_GREEDY))
	$(BENCHMARK) decode $(BENCH_RUN) --json $(REPORTS)/decode_beam_5_safe_end.json
	$(BENCHMARK) decode $(BENCH_RUN) decoding.patience=1.0 decoding.precision=int8 --json $(REPORTS)/decode_beam_5_int8.json
	$(BENCHMARK) data $(SMALL) --json $(REPORTS)/data.json
	$(BENCHMARK) startup $(BENCH_RUN) --json $(REPORTS)/startup.json
	$(BIN)/python scripts/lab/performance_report.py $(REPORTS) docs/measured/performance.md

fuzz: install ## give every reader 200,000 odd files; findings go to build/fuzz (an hour or more)
	$(BIN)/python scripts/lab/fuzz.py

# Small updates and many checkpoints, so that a fault comes every second. In all at least 200.
TORTURE := configs/multi30k_four_minutes.yaml model.d_model=32 model.d_ff=64 model.num_heads=2 model.num_encoder_layers=1 \
	model.num_decoder_layers=1 tokenizer.vocab_size=1000 training.batch_tokens=512 training.max_updates=200 \
	training.warmup_updates=20 training.checkpoint_every=4 validation.every=100 training.average_checkpoints=3 run.threads=1

torture: install ## do 220 random faults to a training, and compare it with an undisturbed one (about 20 minutes)
	test -e data/multi30k-en-de || $(BIN)/python scripts/get_corpus.py multi30k-en-de data/multi30k-en-de
	rm -rf runs/torture
	$(BIN)/python scripts/lab/torture.py $(TORTURE) --faults 200 --json runs/torture/alone.json runs/torture/alone
	$(BIN)/python scripts/lab/torture.py $(TORTURE) --faults 20 --ranks 2 --json runs/torture/ranks.json runs/torture/ranks

release: install ## check, build sdist and wheel into dist/, install the wheel elsewhere and try it; uploads nothing
	@test -z "$$(git status --porcelain)" || { echo "error: the tree has changes; commit them first" >&2; exit 2; }
	$(MAKE) check
	$(BIN)/python scripts/lab/release.py dist

clean: ## remove what make made: .venv and caches; corpora and runs stay
	rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache .hypothesis build dist *.egg-info
	find . -name __pycache__ -type d -not -path './$(VENV)/*' -prune -exec rm -rf {} +
