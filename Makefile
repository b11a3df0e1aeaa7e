# Thin over `python -m sigmaflow`: what a target does is in sigmaflow/. Settings: docker/stack.toml.
# Another stack beside this one: make start SIGMAFLOW_PORT_OFFSET=1000 SIGMAFLOW_DATA_DIR=/tmp/other
PYTHON ?= $(or $(shell command -v python3.11),$(shell command -v python3),python3.11)
PROGRAM ?=
TOPIC ?= equity.v1
FILE ?=
FILES ?=
ROWS ?= 0
JOBS ?= one
PARALLELISM ?= 1
SPEED ?= 0
OUT ?= build/report.html
CASES ?= 1000000
SEED ?= 1
ARGS ?=
QUICK ?=

export SIGMAFLOW_PORT_OFFSET SIGMAFLOW_DATA_DIR SIGMAFLOW_CACHE_DIR
export PYTHONPATH := $(CURDIR)
RUN := .venv/bin/python -m sigmaflow
.DEFAULT_GOAL := help
.PHONY: help setup start stop status restart logs clean setup-topics monitor-topics smoke-test dashboard metrics \
	check fuzz test reference replay report replay-identity chaos poison audit savepoint bench ready \
	doctor

help: ## show this list
	@echo "Sigmaflow: paper trading you can prove. Begin with: make start"
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-15s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: # environment, packages, jars, compiled kernels; run by the others
	@if ! "$(PYTHON)" -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' 2>/dev/null; then \
		found=`"$(PYTHON)" --version 2>&1 | head -n 1`; \
		echo "setup: Python 3.11 must be on PATH, but '$(PYTHON)' says '$$found'; install Python 3.11, or name it: make start PYTHON=/path/to/python3.11." >&2; exit 2; fi
	@"$(PYTHON)" sigmaflow/bootstrap.py

ready:
	@if [ ! -x .venv/bin/python ]; then echo "The project must be set up, but it is not yet; run make start." >&2; exit 2; fi

start: setup ## set everything up, start the stack, the chain and a market, and show it live
	@$(RUN) start

stop: ready ## stop everything; data stays
	@$(RUN) stop

restart: setup ## stop, then start from where it stopped
	@$(RUN) restart

status: ready ## servers, jobs, checkpoints, memory
	@$(RUN) status

doctor: ready ## check this machine and the stack, with a remedy for what is not ok (ARGS=--running)
	@$(RUN) doctor $(ARGS)

dashboard: ready ## the live view of make start
	@$(RUN) dashboard

logs: ready ## follow the logs (PROGRAM=taskmanager-1 for one)
	@$(RUN) logs $(PROGRAM)

metrics: ready ## print the chain's metrics as they stand
	@$(RUN) metrics

setup-topics: setup ## create the topics and register the schemas
	@$(RUN) setup-topics

monitor-topics: setup ## decoded messages of a topic as they flow (TOPIC=fills.v1)
	@$(RUN) monitor-topics $(TOPIC) $(ARGS)

smoke-test: setup ## check every layer with real parts, one verdict line each
	@$(RUN) smoke-test

reference: setup ## the reference strategy over a tick file (FILE= ROWS= JOBS=one|six PARALLELISM=)
	@$(RUN) reference "$(FILE)" --rows $(ROWS) --jobs $(JOBS) --parallelism $(PARALLELISM)

replay: setup ## recorded frames through the chain (FILES="a.gz b.gz" SPEED=1)
	@$(RUN) replay $(FILES) --speed $(SPEED)

report: setup ## the tear sheet as one HTML file (OUT=build/report.html)
	@$(RUN) report --out "$(OUT)"

replay-identity: setup ## one log computed in many ways on the cluster: the same bytes (ARGS="--ticks 50000")
	@$(RUN) replay-identity $(ARGS)

chaos: setup ## kill, freeze and take away every part under load (ARGS="--only broker-kill --rounds 20")
	@$(RUN) chaos $(ARGS)

poison: setup ## one tick in a hundred is bad: all end as dead letters, nothing else changes (ARGS="--seed 8")
	@$(RUN) poison $(ARGS)

bench: setup ## ticks/s, latency, peers, growth on a local cluster; build/bench.json (QUICK=1 FILE=, ARGS="--only latency")
	@$(RUN) bench $(if $(QUICK),--quick) $(if $(FILE),--file "$(FILE)") $(ARGS)

audit: ready ## check every record in Kafka against the others (ARGS="--namespace NAME --complete")
	@$(RUN) audit $(ARGS)

savepoint: ready ## take a savepoint of every running job
	@$(RUN) savepoint

test: setup ## all tests, on a stack of their own
	@.venv/bin/python -m pytest $(ARGS)

fuzz: setup ## damaged input into admission and every reader (CASES=1000000 SEED=1)
	@.venv/bin/python -m tests.fuzz --cases $(CASES) --seed $(SEED)

check: setup ## what CI runs: lint, types, tests
	@.venv/bin/python -m ruff check .
	@.venv/bin/python -m mypy
	@$(MAKE) --no-print-directory test

clean: ready ## stop and remove the data; packages and jars stay
	@$(RUN) clean
