# Everything a contributor or an operator of one machine types. `make help` lists it.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

VENV := .venv
BIN := $(VENV)/bin
MEMBERS := $(wildcard libs/*/pyproject.toml services/*/pyproject.toml)
SOURCES := $(wildcard libs/*/src services/*/src)
STAMP := $(VENV)/.installed

.PHONY: help install up down status logs test test-full lint format bench docs openapi asyncapi lock clean

help: ## List the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{ printf "  make %-10s %s\n", $$1, $$2 }'

install: $(STAMP) ## Make .venv with every pinned dependency and the members (done by the others when needed)

$(STAMP): requirements.lock $(MEMBERS) scripts/install.sh
	@scripts/install.sh $(VENV)

up: $(STAMP) ## Start the platform, index the project's own documents, show a search
	@$(BIN)/quarry up --sample

down: $(STAMP) ## Stop the platform; its data stays in var/
	@$(BIN)/quarry down

status: $(STAMP) ## Show each process of the platform
	@$(BIN)/quarry status

logs: $(STAMP) ## Show and follow the logs
	@$(BIN)/quarry logs --follow

test: lint ## Lint, then every test in its short form
	@$(BIN)/python -m quarry_local.servers.binaries
	@scripts/test.sh -m "not full"

test-full: lint ## Lint, then every test at its full size
	@$(BIN)/python -m quarry_local.servers.binaries
	$(BIN)/pytest

lint: $(STAMP) ## Format check, lint, types, import contracts
	$(BIN)/ruff format --check --quiet .
	$(BIN)/ruff check --quiet .
	$(BIN)/mypy $(SOURCES)
	$(BIN)/lint-imports

format: $(STAMP) ## Format the code and mend what the linter can
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: $(STAMP) ## Measure ingest, fairness, memory, search, analytics and webhooks on this machine
	$(BIN)/python -m benchmarks

docs: $(STAMP) ## Write docs/configuration.md anew from the settings
	$(BIN)/python -m quarry_common.reference docs/configuration.md

openapi: $(STAMP) ## Write docs/openapi.json anew from the gateway
	$(BIN)/python -m quarry_gateway.openapi > docs/openapi.json

asyncapi: $(STAMP) ## Write docs/asyncapi.json anew from the types of events
	$(BIN)/python -m quarry_common.asyncapi > docs/asyncapi.json

lock: $(STAMP) ## Pin the newest dependencies in requirements.lock, with hashes
	$(BIN)/uv pip compile --quiet --python 3.11 --generate-hashes --no-emit-index-url --no-header --no-annotate --all-extras \
		--no-emit-package quarry-common --no-emit-package quarry-client --no-emit-package quarry-local \
		--group pyproject.toml:dev $(MEMBERS) -o requirements.lock

clean: ## Stop the platform; remove .venv, caches and var/ with all its data
	@if [ -x $(BIN)/quarry ]; then $(BIN)/quarry down && $(BIN)/python -m quarry_local.clean; fi
	rm -rf $(VENV) var .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
