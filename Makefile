# Every target sets up what it needs: uv, privately in .uv where the machine has none, then the locked environment.
.DEFAULT_GOAL := help
UV := $(shell command -v uv 2>/dev/null || echo .uv/bin/uv)
RUN := $(UV) run --frozen --quiet
DIR ?= docs
MINUTES ?= 10
PYTHON ?= python3
export UV_PYTHON_DOWNLOADS ?= never

.uv/bin/uv:
	@$(PYTHON) -m venv .uv && .uv/bin/pip install --quiet --disable-pip-version-check uv==0.13.9

.PHONY: help setup dev test lint format type migrate migrate-fresh demo soak bench docs
help: ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 16

setup: $(filter .uv/%,$(UV)) ## make the locked environment in .venv
	@$(UV) sync --frozen --quiet

dev: setup ## serve GET /health on 127.0.0.1:8000, on SQLite and local storage under var/
	@$(RUN) artifactstore dev

test: setup ## run every test, in parallel, with branch coverage
	@$(RUN) coverage erase
	@COVERAGE_PROCESS_START=pyproject.toml $(RUN) coverage run -m pytest -n auto --dist worksteal
	@$(RUN) coverage combine --quiet && $(RUN) python tests/coverage_floor.py

lint: setup ## check style
	@$(RUN) ruff check . && $(RUN) ruff format --check .

format: setup ## mend style
	@$(RUN) ruff check --fix . && $(RUN) ruff format .

type: setup ## check types, with mypy and with pyright
	@$(RUN) mypy && $(RUN) pyright

migrate: setup ## bring the configured database's schema up to date
	@$(RUN) artifactstore migrate

migrate-fresh: setup ## drop the configured database's tables and set them up; refused while the log holds events
	@$(RUN) artifactstore migrate --fresh

demo: setup ## ingest DIR (docs/ by default), verify it and replay the log, in a store of its own
	@DIR="$(DIR)" RUN="$(RUN)" sh docs/demo.sh

soak: setup ## simulate faults under ever new seeds for MINUTES (10 by default), and report what was checked
	@$(RUN) python -m artifactstore.testing.soak --minutes $(MINUTES)

bench: setup ## measure, side by side
	@for each in bench/*.py; do echo "== $$each"; $(RUN) python $$each; done

docs: setup ## build the documentation site into site/, with the API reference; warnings are errors
	@$(RUN) --group docs sphinx-build -q -E -W --keep-going -c docs -d site/.doctrees . site && echo "built site/index.html"
