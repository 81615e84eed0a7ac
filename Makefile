# batchyard: everything a checkout can do. `make` alone lists it.
.DEFAULT_GOAL := help
SHELL := /bin/sh

# Run through the interpreter: scripts in .venv/bin may not start from a very deep folder.
PY := .venv/bin/python
YARD := $(PY) -m batchyard
TEST_JOBS ?= auto
export PYTHON
export BARE

# A checkout that was moved or copied is set up anew.
ifneq ($(shell sed -n 1p .venv/.ok 2>/dev/null),$(shell pwd -P))
.PHONY: .venv/.ok
endif

.venv/.ok: requirements.lock pyproject.toml deploy/setup.sh
	@sh deploy/setup.sh

.PHONY: setup demo up down test check format bench lock clean help

setup: .venv/.ok ## Install everything into .venv (the other commands do it by themselves)
	@:

demo: .venv/.ok ## Label real messages on simulated clouds and a real local model, live
	@$(YARD) demo $(ARGS)

up: .venv/.ok ## Start the yard (Postgres, broker, workers, Flower) and leave it running
	@$(YARD) up -d $(ARGS)

down: .venv/.ok ## Stop the yard; its data stay in .batchyard/
	@$(YARD) down $(ARGS)

test: .venv/.ok ## Run the tests, against real embedded services (ARGS="-k name" for some)
	@$(PY) -m pytest -n $(TEST_JOBS) --dist loadfile $(ARGS)

check: .venv/.ok ## Lint, types (strict), import contract, house rules, compose file
	@$(PY) -m ruff check .
	@$(PY) -m ruff format --check .
	@$(PY) -m mypy
	@$(PY) -c 'from importlinter.cli import lint_imports_command as c; c()'
	@$(PY) -m pytest -q -p no:xdist tests/test_house.py
	@$(PY) -m check_jsonschema --builtin-schema vendor.compose-spec docker-compose.yml

format: .venv/.ok ## Put every file into the house format
	@$(PY) -m ruff check --fix-only --quiet .
	@$(PY) -m ruff format .

bench: .venv/.ok ## Measure: CPU per prompt, claims and dispatch, peers, volume (see docs/bench.md)
	@$(PY) -m bench $(ARGS)

lock: .venv/.ok ## Resolve requirements.lock again from pyproject.toml
	@$(PY) -m uv pip compile pyproject.toml --extra embedded --extra local --extra encoder --group dev \
		--universal --python-version 3.11 --generate-hashes --no-header \
		--no-emit-index-url --quiet $(ARGS) -o requirements.lock

clean: ## Remove .venv and what tools leave behind (.batchyard/, your data, stays)
	@rm -rf .venv build dist *.egg-info .mypy_cache .pytest_cache .ruff_cache \
		.import_linter_cache .hypothesis
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

help: ## This list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' Makefile
