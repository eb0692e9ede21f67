# Tocsin's commands. `make help` lists them. Nothing but Python 3.11 and make is assumed.
SHELL := /bin/bash
.DEFAULT_GOAL := help
.ONESHELL:
.SHELLFLAGS := -eu -o pipefail -c
MAKEFLAGS += --no-print-directory

PYTHON ?= $(shell command -v python3.11 || command -v python3)
TOOLS := .tools
UV := $(TOOLS)/bin/uv
UV_VERSION := 0.13.9
READY := .venv/.ready
RUN := $(UV) run --no-sync --quiet
SOURCES := $(wildcard libs/*/src/tocsin_* services/*/src)
TESTS := tests conftest.py $(wildcard libs/*/tests services/*/tests)

.PHONY: help
help: ## List the targets.
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-9s %s\n", $$1, $$2}'

.PHONY: setup
setup: $(READY) ## Install everything into the project's own environment.

$(UV):
	@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' || { echo 'Tocsin needs Python 3.11: make setup PYTHON=/path/to/python3.11'; exit 1; }
	@echo 'Installing uv $(UV_VERSION) into $(TOOLS)'
	@"$(PYTHON)" -m venv $(TOOLS)
	@$(TOOLS)/bin/python -m pip install --quiet --disable-pip-version-check uv==$(UV_VERSION)

$(READY): $(UV) pyproject.toml uv.lock $(wildcard libs/*/pyproject.toml services/*/pyproject.toml)
	@echo 'Installing the locked packages into .venv'
	@$(UV) sync --locked --quiet --python "$(PYTHON)"
	@touch $(READY)

.PHONY: run
run: $(READY) ## Start the four services, PostgreSQL, NATS and the provider simulators; Ctrl-C stops all.
	@exec .venv/bin/tocsin up

.PHONY: demo
demo: $(READY) ## Simulate 60 days of a household, or of a bank file: make demo DATA=path.csv
	@exec .venv/bin/tocsin demo $(if $(DATA),--data "$(DATA)")

.PHONY: test
test: $(READY) ## Run the tests; T=path runs one file or folder.
	@exec .venv/bin/pytest $(T)

.PHONY: chaos
chaos: $(READY) ## Kill everything at every step and prove that nothing is lost: kills in a busy day, then the matrix.
	@status=0
	.venv/bin/pytest tests/chaos/test_kill_nine.py tests/chaos/test_lost_broker.py || status=1
	.venv/bin/python -m tests.chaos || status=1
	exit $$status

.PHONY: bench
bench: $(READY) ## Measure the budgets of the design pages; ONLY=evaluator for one service, SAVE=1 keeps the run.
	@exec .venv/bin/python -m tests.load $(if $(ONLY),--only $(ONLY)) $(if $(SAVE),--save)

.PHONY: check
check: $(READY) ## Lint, types, imports, contract, generated code, migrations, dependencies.
	@set -x
	.venv/bin/ruff check .
	.venv/bin/ruff format --check --quiet .
	.venv/bin/mypy $(SOURCES) $(TESTS) protos/generate.py
	.venv/bin/lint-imports --cache-dir .import_linter_cache
	.venv/bin/python protos/generate.py --check
	.venv/bin/python protos/generate.py --lint
	.venv/bin/python protos/generate.py --breaking
	.venv/bin/pytest tests/architecture/test_migrations.py
	.venv/bin/python tests/architecture/audit.py

.PHONY: protos
protos: $(READY) ## Generate libs/contracts from protos/.
	@.venv/bin/python protos/generate.py

.PHONY: migrate
migrate: $(READY) ## Bring the databases and streams named in the environment up to date.
	@exec .venv/bin/tocsin migrate

.PHONY: format
format: $(READY) ## Format the code and mend what the linter can.
	@.venv/bin/ruff check --fix --quiet . || true
	@.venv/bin/ruff format --quiet .

.PHONY: clean
clean: ## Remove what was built or downloaded, and the data of make run.
	@rm -rf .venv $(TOOLS) .tocsin .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
