# Every target sets up what it needs: uv, privately in .uv where the machine has none, then the locked environment.
# Bytecode is compiled, whatever the machine's setting: without it every command and every test process starts slowly.
unexport PYTHONDONTWRITEBYTECODE
.DEFAULT_GOAL := help
UV := $(shell command -v uv 2>/dev/null || echo .uv/bin/uv)
RUN := $(UV) run --frozen --quiet
DIR ?= docs
MINUTES ?= 10
PYTHON ?= python3
BENCH = $(if $(ROWS),--rows $(ROWS)) $(if $(ROUNDS),--rounds $(ROUNDS)) $(if $(SCALE),--scale $(SCALE)) $(if $(JSON),--json $(JSON))
export UV_PYTHON_DOWNLOADS ?= never
PYTEST := -m pytest -n auto --dist worksteal -q
# With COVERAGE=1 the tests measure the coverage of lines and hold it against its floors.
MEASURED := $(if $(COVERAGE),env COVERAGE_PROCESS_START=pyproject.toml coverage run,python)
# Where pyenv keeps several Pythons, the checkout's .python-version hides this one unless it is named.
PYTHON_313 = $(shell PYENV_VERSION=3.13 python3.13 -c 'import sys; print(sys.executable)' 2>/dev/null)
ON_313 = UV_PROJECT_ENVIRONMENT=.venv-3.13 $(UV) run --frozen --quiet --compile-bytecode --python "$(PYTHON_313)" python $(PYTEST)

.uv/bin/uv:
	@echo "-- installing uv into .uv"
	@$(PYTHON) -m venv .uv && .uv/bin/pip install --quiet --disable-pip-version-check uv==0.13.9

.PHONY: help setup dev test test-rest test-all lint format type migrate migrate-fresh demo soak bench performance docs
help: ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 16

setup: $(filter .uv/%,$(UV)) ## make the locked environment in .venv
	@[ .venv/.compiled -nt uv.lock ] || echo "-- installing the locked packages into .venv, and compiling them"
	@$(UV) sync --frozen --quiet
	@[ .venv/.compiled -nt uv.lock ] || { .venv/bin/python -W ignore -m compileall -q -j 0 .venv/lib && touch .venv/.compiled; }

dev: setup ## serve GET /health on 127.0.0.1:8000, on SQLite and local storage under var/
	@$(RUN) artifactstore dev

test: setup ## run the tests, but not the slow ones, in parallel: a few minutes
	@$(if $(COVERAGE),$(RUN) coverage erase)
	@$(RUN) $(MEASURED) $(PYTEST) -m "not slow and not soak"
	@$(if $(COVERAGE),$(RUN) coverage combine --quiet && $(RUN) python tests/coverage_floor.py)

test-rest: setup ## run what `make test` leaves out: the slow tests, then the others on Python 3.13 where there is one
	@$(RUN) python $(PYTEST) -m "slow and not soak"
	@$(if $(PYTHON_313),$(ON_313) -m "not slow and not soak",echo "there is no Python 3.13 here; the suite ran on 3.12 alone")

test-all: ## run every test but soak: `make test`, with the coverage of lines and its floors, and `make test-rest`
	@$(MAKE) --no-print-directory test COVERAGE=1
	@$(MAKE) --no-print-directory test-rest

lint: setup ## check style
	@$(RUN) ruff check . && $(RUN) ruff format --check .

format: setup ## fix style
	@$(RUN) ruff check --fix . && $(RUN) ruff format .

type: setup ## check types, with mypy and with pyright
	@$(RUN) mypy && $(RUN) pyright

migrate: setup ## bring the configured database's schema up to date
	@$(RUN) artifactstore migrate

migrate-fresh: setup ## drop the configured database's tables and set them up; refused while the log holds events
	@$(RUN) artifactstore migrate --fresh

demo: setup ## ingest DIR (docs/ by default), verify it and replay the log, in a store of its own
	@DIR="$(DIR)" RUN="$(RUN)" sh docs/demo.sh

soak: setup ## storms and loads at full scale, the slow tests on Python 3.13, then simulated faults for MINUTES (10 by default)
	@$(RUN) python -m pytest -m soak
	@$(if $(PYTHON_313),$(ON_313) -m "slow and not soak")
	@PYTHONPATH=tests $(RUN) python -m simulation.soak --minutes $(MINUTES)

bench: setup ## measure artifactstore beside borg, restic, cp and sqlite3; ROWS="ingest export", ROUNDS, SCALE, JSON=FILE
	@$(RUN) python -m bench $(BENCH)

performance: ROWS ?= all
performance: setup ## measure every row, for a long time, and write the figures of docs/PERFORMANCE.md
	@$(RUN) python -m bench $(BENCH) --profile --json docs/performance.json
	@$(RUN) python -m bench.page

docs: setup ## write docs/reference/ and docs/man/ from the code, then build the site into site/; warnings are errors
	@$(RUN) python tests/reference_pages.py
	@$(RUN) python tests/man_pages.py
	@$(RUN) --group docs sphinx-build -q -E -W --keep-going -c docs -d site/.doctrees . site && echo "built site/index.html"
