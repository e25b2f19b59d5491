# Two commands matter: `make demo` and `make test`. Each sets up what it needs in .venv (see envs/setup.sh).
SHELL := /bin/sh
.DEFAULT_GOAL := help
VENV := .venv
PYTHON := $(VENV)/bin/python
LOCKS := envs/setup.sh envs/pip.txt envs/lock.txt envs/solaris.txt pyproject.toml

BENCHMARKS := $(filter-out __init__ side_by_side tiles plain_network,$(basename $(notdir $(wildcard benchmarks/*.py))))

.PHONY: help setup setup-test demo clean-demo test bench lint format relock clean

help: ## list these targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' Makefile

setup: $(VENV)/.ready ## make .venv from the pinned lock files
$(VENV)/.ready: $(LOCKS)
	@envs/setup.sh $(VENV)
	@touch $@

setup-test: $(VENV)/.ready-test ## add the tests' tools and a browser
$(VENV)/.ready-test: $(VENV)/.ready envs/lock-test.txt
	@envs/setup.sh $(VENV) test
	@touch $@

demo: setup ## run the whole workflow on embedded data (about 20 minutes on 2 cores) and say where the report is
	@mkdir -p results
	@flock --nonblock --conflict-exit-code 75 results/.demo.lock \
		$(PYTHON) -m sspipe follow --logs results/demo/logs -- $(VENV)/bin/snakemake --profile profiles/demo all \
		|| { status=$$?; [ $$status -ne 75 ] || echo "make demo: another one is running in this folder"; exit $$status; }
	@echo "Report: $(CURDIR)/results/demo/report/index.html"

clean-demo: ## remove the demo's results
	rm -rf results/demo

# loadgroup: tests marked with the same xdist_group (one workflow run that several look at) stay in one worker.
test: setup-test ## run every test and check: behaviour, whole workflow, report in a browser, ruff, mypy, snakefmt, lint
	@$(PYTHON) -m pytest -n 2 --dist loadgroup

bench: setup-test ## run the speed comparisons that need no GPU (docs/performance.md has what they gave)
	@for benchmark in $(BENCHMARKS); do echo "== $$benchmark"; $(PYTHON) -m benchmarks.$$benchmark || exit 1; done

lint: setup-test ## run the style and type checks alone
	@$(PYTHON) -m pytest tests/quality

format: setup-test ## lay out Python and Snakemake code
	$(VENV)/bin/ruff check --fix .
	$(VENV)/bin/ruff format .
	$(VENV)/bin/snakefmt Snakefile rules

relock: setup ## resolve envs/*.in and pyproject.toml anew into the lock files (needs Python 3.11)
	$(PYTHON) envs/relock.py

clean: ## remove .venv, caches and the demo's results (other results stay)
	rm -rf $(VENV) results/demo .pytest_cache .mypy_cache .ruff_cache .hypothesis
