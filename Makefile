# Every recipe sets up what it needs; only Python 3.11 or 3.12 (with venv), make and git have to be there.
SHELL := /bin/bash
VENV := .venv
BIN := $(VENV)/bin
PY_CANDIDATES := $(PYTHON) python3.12 python3.11 python3
STAMP := $(VENV)/.stamp
RUN_STAMP := $(VENV)/.run-stamp
export UV_PYTHON_DOWNLOADS := never
export XDG_RUNTIME_DIR ?= /tmp
# Without byte code every process compiles its imports anew, msgraph's thousands of modules too.
unexport PYTHONDONTWRITEBYTECODE
PYTEST := $(BIN)/python -m pytest
# Three on two cores: a test waits for PostgreSQL or for a process a third of its time.
WORKERS ?= 3
JS := tests/interop/javascript

.PHONY: help demo test test-long check types style layers unused deps lock interop soak takeouts perf perf-gate perf-accept perf-charts replay sbom clean format

help:  ## Print the recipes
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F':.*## ' '{printf "  make %-10s %s\n", $$1, $$2}'

# Two sets of packages in one environment: what the product and its demo need, and that with the tools of development.
# `define` keeps the steps they share: find a Python, make the environment, install uv by hash.
define MAKE_VENV
@set -e; found=; for python in $(PY_CANDIDATES); do \
  if $$python -c 'import sys, venv; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 13))' 2>/dev/null; then found=$$python; break; fi; \
done; \
if [ -z "$$found" ]; then echo "Rowtide needs Python 3.11 or 3.12 with venv; name one with: make PYTHON=/path/to/python3.12" >&2; exit 2; fi; \
[ -x $(BIN)/python ] || $$found -m venv $(VENV); \
$(BIN)/python -m pip install -q --disable-pip-version-check --require-hashes -r requirements/uv.txt
endef
EDITABLE := $(BIN)/uv pip install -q --python $(BIN)/python --no-deps --no-build-isolation -e .

# Adds and never removes, so that it leaves the tools of development where they are.
$(RUN_STAMP): requirements/uv.txt requirements/build.txt requirements/run.txt pyproject.toml
	$(MAKE_VENV)
	@$(BIN)/uv pip install -q --compile-bytecode --require-hashes --python $(BIN)/python -r requirements/run.txt -r requirements/build.txt
	@$(EDITABLE)
	@touch $@

$(STAMP): requirements/uv.txt requirements/build.txt requirements/run.txt requirements/dev.txt pyproject.toml
	$(MAKE_VENV)
	@$(BIN)/uv pip sync -q --compile-bytecode --python $(BIN)/python requirements/dev.txt requirements/uv.txt requirements/build.txt
	@$(EDITABLE)
	@touch $(RUN_STAMP) $@

venv: $(STAMP)

demo: $(RUN_STAMP)  ## See it work: PostgreSQL, a Graph simulator and the sync, live, for 30 seconds
	@$(BIN)/rowtide demo $(ARGS)

$(JS)/node_modules/.package-lock.json: $(JS)/package-lock.json
	@if command -v npm >/dev/null; then npm ci --silent --prefix $(JS) && touch $@; \
	else echo "the JavaScript clients need Node.js 20 with npm: skipped"; fi

deps:  ## As root: install the Debian packages and the JavaScript clients that some tests use
	@if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	  missing=; for package in $$(grep -v '^#' apt.txt); do dpkg -s $$package >/dev/null 2>&1 || missing="$$missing $$package"; done; \
	  if [ -n "$$missing" ]; then apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $$missing >/dev/null; fi; \
	else echo "make deps installs Debian packages and needs root: skipped"; fi
	@if [ "$$(id -u)" = 0 ] && ! command -v npm >/dev/null && command -v apt-get >/dev/null; then \
	  apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends nodejs npm >/dev/null; fi
	@$(MAKE) --no-print-directory $(JS)/node_modules/.package-lock.json

# What reads the code without running it. Types take one core as long as all the others take the other one.
LINT := $(MAKE) --no-print-directory -j2 --output-sync types style layers unused
types:
	@$(BIN)/mypy
style:
	@$(BIN)/ruff check . && $(BIN)/ruff format --check -q .
layers:
	@$(BIN)/lint-imports --no-logo
unused:
	@$(BIN)/vulture

check: $(STAMP)  ## Lint, types, layers and unit tests, in half a minute
	@$(LINT)
	@$(PYTEST) -q -n $(WORKERS) --dist loadfile tests/unit tests/repository

# In the order of collection, so that end-to-end files come first: by number of tests, as xdist orders files otherwise,
# the longest ones would be last, and one worker would wait for the other.
test: $(STAMP)  ## Everything but the long tests, in ten minutes
	@if [ "$$(id -u)" = 0 ]; then $(MAKE) --no-print-directory deps; fi
	@$(LINT)
	@$(PYTEST) -n $(WORKERS) --dist loadfile --no-loadscope-reorder -m "not long" tests

# What is done to tables, lists and servers is tried twice: `make test` has the state database beside the source.
APART := $(addprefix tests/e2e/test_,administration.py lists.py table_shapes.py)

# Where latencies are compared, of a neighbour with and without trouble, on two workers.
test-long: $(STAMP)  ## Crash histories and other long tests, in twenty-five minutes
	@$(PYTEST) -n 2 --dist loadfile --no-loadscope-reorder -m "long and latency" tests/e2e
	@$(PYTEST) -n $(WORKERS) --dist loadfile --no-loadscope-reorder -m "long and not latency" tests
	@ROWTIDE_STATE=apart $(PYTEST) -n $(WORKERS) --dist loadfile --no-loadscope-reorder $(APART)

interop: $(STAMP) $(JS)/node_modules/.package-lock.json  ## Other people's Graph clients against the simulator
	@$(PYTEST) tests/interop

perf: $(STAMP)  ## Measure (ONLY=family) and write perf/results/latest.json
	@$(BIN)/uv pip install -q --python $(BIN)/python --require-hashes -r requirements/perf.txt || echo "no Debezium here: its comparison is left out"
	@$(BIN)/python -m perf.run $(addprefix --only ,$(ONLY)) $(ARGS)

perf-gate: $(STAMP)  ## Hold the newest figures against the accepted ones; a closed gate is an error
	@$(BIN)/python -m perf.gate $(ARGS)

perf-accept: $(STAMP)  ## Accept the newest figures (ONLY=family): later ones are held against them
	@$(BIN)/python -m perf.gate --accept $(addprefix --only ,$(ONLY)) $(ARGS)

perf-charts: $(STAMP)  ## Draw the curves of the newest figures for perf/README.md
	@$(BIN)/python -m perf.charts

soak: $(STAMP)  ## Kill processes at work 500 times (KILLS=) and count what was lost or doubled
	@$(BIN)/python -m tests.e2e.crash.soak --kills $(or $(KILLS),500) $(ARGS)

takeouts: $(STAMP)  ## Take each rule out of a copy of the product: do the histories of administration find it?
	@$(BIN)/python -m tests.e2e.crash.takeouts $(ARGS)

replay: $(STAMP)  ## Run a saved failing history again: make replay FILE=tests/histories/...
	@$(BIN)/python -m tests.e2e.crash.soak --replay $(FILE)

format: $(STAMP)  ## Format the code and mend what the linter can
	@$(BIN)/ruff check --fix -q . ; $(BIN)/ruff format -q .

COMPILE := $(BIN)/uv pip compile -q --universal --generate-hashes --python-version 3.11 --no-emit-index-url --no-annotate --no-header

lock: $(STAMP)  ## Renew the locks in requirements/
	@$(COMPILE) --upgrade --extra demo pyproject.toml -o requirements/run.txt
	@$(COMPILE) --upgrade -c requirements/run.txt pyproject.toml -o requirements/production.txt
	@$(COMPILE) --upgrade --group release -o requirements/release.txt
	@$(COMPILE) --upgrade --extra tracing -c requirements/production.txt pyproject.toml -o requirements/tracing.txt
	@$(COMPILE) --upgrade --extra demo --extra tracing --group dev -c requirements/run.txt pyproject.toml -o requirements/dev.txt
	@$(COMPILE) --upgrade --extra demo --extra perf -c requirements/dev.txt pyproject.toml -o requirements/perf.txt
	@$(COMPILE) --upgrade -c requirements/run.txt graphsim/pyproject.toml -o requirements/sim.txt

SBOM_VENV := dist/sbom

sbom: $(STAMP)  ## What is in a production install: dist/sbom.cdx.json (CycloneDX) and dist/licences.md
	@rm -rf $(SBOM_VENV) && mkdir -p dist
	@for name in production release; do $(BIN)/uv venv -q --python $(BIN)/python $(SBOM_VENV)/$$name \
	  && $(BIN)/uv pip install -q --require-hashes --python $(SBOM_VENV)/$$name/bin/python -r requirements/$$name.txt || exit 1; done
	@$(BIN)/uv build -q --wheel --no-build-isolation --python $(BIN)/python -o $(SBOM_VENV) .
	@$(BIN)/uv pip install -q --no-deps --python $(SBOM_VENV)/production/bin/python $(SBOM_VENV)/*.whl
	@$(SBOM_VENV)/release/bin/cyclonedx-py environment --output-reproducible --pyproject pyproject.toml --mc-type application \
	  --of JSON -o dist/sbom.cdx.json $(SBOM_VENV)/production/bin/python
	@$(SBOM_VENV)/release/bin/pip-licenses --python $(SBOM_VENV)/production/bin/python --ignore-packages rowtide \
	  --format markdown --with-urls --order license --output-file dist/licences.md
	@rm -rf $(SBOM_VENV)

clean:  ## Remove what the recipes made
	@rm -rf $(VENV) $(JS)/node_modules .mypy_cache .ruff_cache .pytest_cache .hypothesis dist
