# `make help` lists what there is. The two that matter to a stranger: `make demo` and `make test`.

PYTHON ?= python3
# Where a CPU build of torch comes from when the configured package index has none (used only without an NVIDIA driver).
TORCH_INDEX ?= https://download.pytorch.org/whl/cpu
WORKERS ?= 2
BIN := .venv/bin

export PYTHON TORCH_INDEX
export OMP_NUM_THREADS ?= 1

.DEFAULT_GOAL := help
.PHONY: help setup setup-test demo test check lint types contracts format coverage bench clean

help: ## Show this help
	@awk 'BEGIN {FS = ":.*## "} /^[a-z-]+:.*## / {printf "  %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: ## Make .venv and install everything into it (seconds when nothing changed)
	@sh scripts/setup.sh

setup-test:
	@sh scripts/setup.sh test

demo: setup ## Fine-tune a small model, kill the server in the middle, cancel a job that resists (about two minutes)
	@$(BIN)/stoker demo

test: setup-test lint types contracts ## Run every check and every test
	$(BIN)/pytest -n $(WORKERS) $(ARGS)

check: test ## What continuous integration runs

lint: ## Check style and format
	$(BIN)/ruff check src tests
	$(BIN)/ruff format --check src tests

types: ## Check types
	$(BIN)/mypy

contracts: ## Check that every floor imports only from below
	$(BIN)/lint-imports

format: ## Format the code
	$(BIN)/ruff check --fix src tests
	$(BIN)/ruff format src tests

coverage: setup-test ## Run every test and show what ran of the server, the supervisors and the trainers
	rm -f .coverage .coverage.*
	PYTHONPATH=tests/measured $(BIN)/coverage run -m pytest -n $(WORKERS) $(ARGS)
	$(BIN)/coverage combine -q
	$(BIN)/coverage report --skip-covered --show-missing

bench: setup-test ## Measure, beside the floor of the machine in the same run
	$(BIN)/python -m tests.bench $(ARGS)

clean: ## Remove what the other targets made
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache demo-home build dist
