# A new machine needs Python 3.11 or later, make, and a way to PyPI. `make` alone says what there is.

PYTHON ?= python3
PORT ?= 7070
DATA ?= ../shared/data
FIT ?= ../shared/data
KEEP ?=
SECONDS ?= 900
BIN := .venv/bin

.DEFAULT_GOAL := help
.PHONY: help install demo test check bench bench-clients bench-evals bench-gate bench-peers bench-wire bench-handbook bench-quality weights \
	soak docs lock prices clean

help:             ## What there is
	@grep -E '^[a-z-]+: .*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 18

install: .venv/done  ## Make .venv with everything for development, from hashed locks

.venv/done: requirements/dev.txt pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or later is needed: make PYTHON=python3.11")'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install -q --disable-pip-version-check --require-hashes -r requirements/dev.txt
	$(BIN)/python -m pip install -q --disable-pip-version-check --no-build-isolation --no-deps -e .
	touch $@

demo: install     ## Serve the bundled example on PORT (7070)
	PORT=$(PORT) $(BIN)/mainstay demo

test: install check  ## The whole suite, after `make check`
	$(BIN)/python -m pytest -n 3

check: install    ## Style, types, and the direction of the floors
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: install    ## Every benchmark that runs on this machine alone
	$(BIN)/python -m bench

bench-peers: install  ## A call with everything on, beside other gateways from the registries, which it installs under bench/out
	$(BIN)/python -m bench.peers
	$(BIN)/python -m bench.everything

soak: install     ## A steady load for SECONDS (900): does memory stay flat?
	$(BIN)/python -m bench.soak $(SECONDS)

bench-clients: install  ## A pass-through with our HTTP client, aiohttp and httpx
	$(BIN)/python -m bench.clients

bench-wire: install  ## Recorded exchanges of real providers through the adapters (DATA=DIR)
	$(BIN)/python -m bench.wire $(DATA)

bench-evals: install  ## An evaluation beside promptfoo (npm), which it installs under bench/out; a report of 10,000 cases in chromium
	$(BIN)/python -m bench.evals
	$(BIN)/python -m bench.reports

bench-handbook: install  ## Does the handbook find the right section, and refuse what it cannot know?
	$(BIN)/python -m bench.handbook

bench-quality: install  ## How good the parts are on public data beside published figures (FIT=DIR, DATA=DIR, KEEP=FILE)
	$(BIN)/python -m bench.quality $(FIT) $(DATA) $(if $(KEEP),--keep $(KEEP))

weights: install  ## Learn every weights file that is shipped anew (DATA=DIR)
	$(BIN)/python -m bench.quality --weights $(DATA)

bench-gate: install  ## How often do the gate and the canary err? By simulation
	$(BIN)/python -m bench.gate

docs: install     ## Write the generated tables and schemas of docs/
	$(BIN)/python scripts/reference.py

lock: install     ## Compile requirements/*.txt anew (needs uv)
	$(BIN)/python -m pip install -q uv
	$(BIN)/uv pip compile -q --universal --generate-hashes --no-header --no-annotate --no-emit-index-url pyproject.toml -o requirements/core.txt
	$(BIN)/uv pip compile -q --universal --generate-hashes --no-header --no-annotate --no-emit-index-url --all-extras pyproject.toml requirements/dev.in -o requirements/dev.txt

prices: install   ## Write the price table anew from the genai-prices package
	$(BIN)/python -m pip install -q genai-prices
	$(BIN)/python scripts/refresh_prices.py

clean:            ## Remove what make made
	rm -rf .venv .mainstay bench/out bench/bin .pytest_cache .mypy_cache .ruff_cache
