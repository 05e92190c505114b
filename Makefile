# Every target works as the first and only command on a fresh machine: it runs scripts/setup.sh first,
# which makes .venv ready and costs milliseconds once it is.

PY := .venv/bin/python
# Test files run side by side, one on each core; ARGS=-n0 runs them one after another.
# One thread each: threads that share a core wait for one another at every layer.
SIDE_BY_SIDE := -n logical --maxprocesses 4 --dist loadfile --no-loadscope-reorder
ONE_THREAD := OMP_NUM_THREADS=1 OMP_WAIT_POLICY=PASSIVE
# Handed on through the environment, so that a song's name may hold blanks, quotes and dollars.
export DEMO_FILE := $(value FILE)

.PHONY: help setup demo run test test-long test-all test-containers check lint types imports format docs bench bench-gpu lock clean venv
.DEFAULT_GOAL := help

help: ## Show this list
	@grep -hE '^[a-z-]+:.*## ' $(firstword $(MAKEFILE_LIST)) | sed -E 's/^([a-z-]+):[^#]*## (.*)/  make \1|\2/' | awk -F"|" '{printf "%-16s %s\n", $$1, $$2}'

setup: ## Make .venv and fetch the default model's weights (TORCH=cuda for NVIDIA, LYRICS=yes, TRACING=yes; TORCH_INDEX_URL, PYTHON)
	@bash scripts/setup.sh weights $(if $(LYRICS),lyrics) $(if $(TRACING),tracing)

demo: setup ## Separate and analyse FILE=song.mp3, or a short song that comes along, into out/
	@bash scripts/demo.sh $(ARGS)

run: setup ## Serve the API on port 8000 and the browser interface on 8501 (settings: docs/settings.md)
	@exec bash scripts/run.sh

test: ## Run the tests, without those marked slow or long (ARGS="-k weights" narrows them)
	@bash scripts/setup.sh weights lyrics tracing tests
	@$(ONE_THREAD) $(PY) -m pytest -m "not slow and not long and not containers" $(SIDE_BY_SIDE) $(ARGS)

test-long: ## Run those that take long: kills, damage and renderings again and again (CI runs them, too)
	@bash scripts/setup.sh weights lyrics tracing tests
	@$(ONE_THREAD) $(PY) -m pytest -m "long and not slow" $(SIDE_BY_SIDE) $(ARGS)

test-all: ## Run every test but those of containers
	@bash scripts/setup.sh weights lyrics tracing tests
	@$(ONE_THREAD) $(PY) -m pytest -m "not containers" $(SIDE_BY_SIDE) $(ARGS)

test-containers: ## Build the image, run it, and bring docker-compose.prod.yml up (as root, with podman)
	@bash scripts/setup.sh weights tests containers
	@$(PY) -m pytest -m containers -n0 tests/containers $(ARGS)

check: lint types imports test ## Everything that must pass: lint, types, import rules, tests

lint: venv ## Lint and formatting
	@$(PY) -m ruff check
	@$(PY) -m ruff format --check

types: ## Static types, those of what is optional among them
	@bash scripts/setup.sh tracing
	@$(PY) -m mypy

imports: venv ## Who may import whom
	@$(PY) .venv/bin/lint-imports --no-logo

format: venv ## Rewrite the code in the house style
	@$(PY) -m ruff check --fix --exit-zero
	@$(PY) -m ruff format

docs: venv ## Rewrite the documents that follow from the code
	@$(PY) -m scripts.generate_docs

bench: setup ## Score the separation, time it beside the demucs command line, and score the analysis
	@$(PY) -m bench.separation $(ARGS)
	@$(PY) -m bench.analysis

bench-gpu: setup ## The same on a GPU (after make setup TORCH=cuda), and how many jobs can share it
	@$(PY) -m bench.separation --device cuda $(ARGS)
	@$(PY) -m bench.scaling --device cuda --minutes 1,5,30

lock: venv ## Derive the lock files from pyproject.toml (ARGS=--upgrade for the newest versions)
	@bash scripts/lock.sh $(ARGS)

clean: ## Remove .venv, caches and out/; the weights stay
	@rm -rf .venv .setup.* out .mypy_cache .pytest_cache .ruff_cache .hypothesis .import_linter_cache

venv:
	@bash scripts/setup.sh
