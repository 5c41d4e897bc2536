PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.DEFAULT_GOAL := check

$(VENV)/.ready: requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "pearlmesh needs Python 3.11 or newer; set PYTHON=/path/to/python3.11")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

.PHONY: setup
setup: $(VENV)/.ready ## prepare .venv with the `mesh` command in it

.PHONY: demo
demo: setup ## the example city on real servers, live until Ctrl-C
	$(BIN)/mesh demo

.PHONY: test
test: setup ## everything that CI runs: lint, types, unit, contract, broker and kill tests
	@$(MAKE) --no-print-directory --jobs=2 lint types tests

.PHONY: tests
tests: setup ## all tests, without lint and types
	$(BIN)/pytest -n 4 --dist worksteal

.PHONY: unit
unit: setup ## the tests that need no server
	$(BIN)/pytest -q tests/unit tests/contracts tests/test_house.py

.PHONY: broker
broker: setup ## the tests on embedded Kafka, PostgreSQL and MariaDB
	$(BIN)/pytest -n 2 --dist worksteal tests/broker

.PHONY: chaos
chaos: setup ## rounds of trouble, then everything compared: ROUNDS=n (10), replayed with SEED=s, begun at FROM=k
	MESH_CHAOS_ROUNDS=$(or $(ROUNDS),10) MESH_CHAOS_SEED=$(or $(SEED),0) MESH_CHAOS_FROM=$(or $(FROM),1) \
		$(BIN)/pytest -q -s tests/chaos/test_rounds.py

.PHONY: kills
kills: setup ## the kill and fault tests; longer with ROUNDS=n, replayed with SEED=s
	MESH_CHAOS_ROUNDS=$(or $(ROUNDS),1) MESH_CHAOS_SEED=$(or $(SEED),0) \
		$(BIN)/pytest -s tests/chaos --ignore tests/chaos/test_rounds.py

.PHONY: dashboards
dashboards: setup ## every query of every dashboard, over a tenth of the city under load and faults: it wants the machine for itself
	$(BIN)/pytest tests/city

.PHONY: soak
soak: setup ## the example city with ordinary trouble for HOURS (1), then everything compared
	$(BIN)/mesh soak --hours $(or $(HOURS),1)

.PHONY: lint
lint: setup ## ruff: format and rules
	$(BIN)/ruff format --check --quiet .
	$(BIN)/ruff check --quiet .

.PHONY: types
types: setup ## basedpyright on the five packages
	$(BIN)/basedpyright

.PHONY: bench
bench: setup ## the mesh beside Debezium, Quix Streams and pg_recvlogical, in one run
	$(BIN)/mesh bench

.PHONY: lock
lock: setup ## pin every dependency anew in requirements.lock
	$(BIN)/uv pip compile pyproject.toml --all-extras --universal --generate-hashes --no-emit-index-url --no-header \
		--python-version 3.11 --output-file requirements.lock --quiet

.PHONY: clean
clean: ## remove .venv, caches and the demo's directory
	rm -rf $(VENV) .mesh .pytest_cache .ruff_cache .hypothesis

.PHONY: check
check: lint types unit ## what a reviewer runs first (also plain `make`)

.PHONY: help
help: ## this list
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 16
