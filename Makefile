# Everything needs only python3 (3.11 or newer, with venv) and make; tools come from the lock.
.DEFAULT_GOAL := help
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
BENCH_VENV := .venv-bench
BENCH_STAMP := $(BENCH_VENV)/.installed
RELEASE_VENV := .venv-release
RELEASE_STAMP := $(RELEASE_VENV)/.installed

LEASE_DURATION ?= 15
RENEW_DEADLINE ?= 10
RETRY_PERIOD ?= 2
REPLICAS ?= 3
OBJECTS ?= 50
SEEDS ?= 1-20000
IMG ?= controller:latest
KUBECTL ?= kubectl
DOCKER ?= docker
# Tests that need more than one room; those that take longest first.
TOGETHER := e2e benchmarks chaos soak deploy docs examples real simulation
ROOMS = $(addprefix --ignore=tests/,$(TOGETHER)) tests
LAB = $(BIN)/python -m pyoperator lab
LAB_FLAGS = --replicas $(REPLICAS) --lease-duration $(LEASE_DURATION) --renew-deadline $(RENEW_DEADLINE) \
  --retry-period $(RETRY_PERIOD) --project examples/postgres-operator/lab.yaml

.PHONY: help
help: ## Show this help
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / {printf "  %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

# A lock is complete, so nothing is resolved: pips up to 23.2 refuse a locked requirement with an extra as soon as the index
# has a newer release. `pip check` afterwards tells what is missing. --clear: what an older lock had installed goes.
PIP = -m pip --disable-pip-version-check
define INSTALL_LOCK
	@$(PYTHON) -m venv --clear $(1)
	@$(1)/bin/python $(PIP) install --quiet --no-deps --require-hashes --requirement $(2)
endef
define CHECK_REQUIREMENTS
	@told=$$($(1)/bin/python $(PIP) check) || { echo "$$told" >&2; exit 1; }
endef

$(STAMP): requirements/dev.lock pyproject.toml examples/postgres-operator/pyproject.toml
	@command -v $(PYTHON) >/dev/null || { echo "make: needs python3 (3.11 or newer): install it, or say PYTHON=/path/to/python3" >&2; exit 2; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "make: $(PYTHON) is older than 3.11: say PYTHON=python3.11 or newer" >&2; exit 2; }
	@$(PYTHON) -c 'import venv, ensurepip' || { echo "make: $(PYTHON) has no venv module: install it (Debian: apt-get install python3-venv)" >&2; exit 2; }
	@echo "setting up $(VENV) from requirements/dev.lock"
	$(call INSTALL_LOCK,$(VENV),requirements/dev.lock)
	@$(BIN)/python $(PIP) install --quiet --no-deps --no-build-isolation --editable . --editable examples/postgres-operator
	$(call CHECK_REQUIREMENTS,$(VENV))
	@touch $(STAMP)

.PHONY: setup
setup: $(STAMP) ## Make the virtual environment from the lock (the other targets do it when needed)

.PHONY: run
run: $(STAMP) ## Three replicas of the postgres-operator on the embedded API server, with a live view
	@exec $(LAB) run $(LAB_FLAGS)

.PHONY: demo
demo: $(STAMP) ## The same, finite and measured: crash, hand-over, rolling update; one JSON line at the end
	@exec $(LAB) demo $(LAB_FLAGS) --objects $(OBJECTS)

.PHONY: test
test: $(STAMP) lint typecheck ## All gates and all tests
	@# Each room by itself, measured; the floor of the branch coverage only rises.
	$(BIN)/python -m pytest -n 3 -q --cov --cov-report= $(ROOMS)
	$(BIN)/python -m coverage report --format=total
	@# The rooms together: virtual time, real processes, documents.
	$(BIN)/python -m pytest -n 2 -q --durations=10 $(addprefix tests/,$(TOGETHER))
	@# Once more where tasks meet, with asyncio's own checks on.
	PYTHONASYNCIODEBUG=1 $(BIN)/python -X dev -m pytest -n 2 -q tests/controller \
	  tests/leaderelection/test_loop_host.py tests/manager/test_life_cycle.py tests/manager/test_manager.py

.PHONY: lint
lint: $(STAMP) ## Format check, lint, import contracts, generated files up to date
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/lint-imports
	$(BIN)/pyoperator manifests --check --output-dir config/crd/bases postgres_operator.api

.PHONY: fmt
fmt: $(STAMP) ## Format and fix what can be fixed
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

.PHONY: typecheck
typecheck: $(STAMP) ## mypy, strict
	$(BIN)/mypy

.PHONY: manifests
manifests: $(STAMP) ## Generate config/crd from the models
	$(BIN)/pyoperator manifests --output-dir config/crd/bases postgres_operator.api

.PHONY: conformance
conformance: $(STAMP) ## The same requests to the embedded server and, with PYOPERATOR_REAL_KUBECONFIG, to a real one
	$(BIN)/python -m pytest tests/conformance -n 2

# What is measured has the runtime dependencies alone, as an image has.
$(BENCH_STAMP): requirements/runtime.lock
	$(call INSTALL_LOCK,$(BENCH_VENV),requirements/runtime.lock)
	$(call CHECK_REQUIREMENTS,$(BENCH_VENV))
	@touch $(BENCH_STAMP)

.PHONY: bench
bench: $(STAMP) $(BENCH_STAMP) ## Beside the peers on a real API server (KUBECONFIG or REAL_APISERVER), some 25 minutes; without one, short
	@# BENCH_FLAGS="--parts sync,status --rounds 1": see python -m benchmarks --help.
	BENCH_PYTHON=$(CURDIR)/$(BENCH_VENV)/bin/python $(BIN)/python -m benchmarks $(BENCH_FLAGS)

.PHONY: memory-gate
memory-gate: $(STAMP) ## Fail if caching 10,000 objects takes more than 1.1 times the recorded memory
	$(BIN)/python -m benchmarks --memory-gate

.PHONY: soak
soak: $(STAMP) ## A day of virtual time and a quarter of an hour of real time: does anything grow or leak? (see soak/)
	@env -u PYTHONDONTWRITEBYTECODE $(BIN)/python -m soak $(SOAK_FLAGS)

.PHONY: simulate
simulate: $(STAMP) ## Elections by the hundred thousand on virtual time, and whole replicas by the thousand (see scripts/simulate)
	@PYTHON=$(BIN)/python scripts/simulate --histories 100000 --full-stack 1000 --jobs 2

.PHONY: own-writes
own-writes: $(STAMP) ## Reads that must see own writes, against 20,000 histories of the server (SEEDS=1-200000: some 70 minutes)
	@$(BIN)/python -m tests.cache.own_writes_history --seeds $(SEEDS)

.PHONY: storm
storm: $(STAMP) ## The cache in ten virtual minutes of every fault at once, for 50 seeds (see scripts/storm)
	@$(BIN)/python scripts/storm --seeds 1-50

.PHONY: chaos
chaos: $(STAMP) $(BENCH_STAMP) ## Break real replicas in every way, judge them, write docs/ha-report.md (some 20 minutes)
	@PYTHON=$(BIN)/python scripts/chaos --python $(CURDIR)/$(BENCH_VENV)/bin/python

.PHONY: e2e-real
e2e-real: $(STAMP) ## The operator as processes against a real kube-apiserver (see scripts/e2e-real)
	@PYTHON=$(BIN)/python scripts/e2e-real

.PHONY: packaging
packaging: $(STAMP) ## Build the packages, install them into empty environments, run the Dockerfile's steps (downloads)
	$(BIN)/python -m pytest tests/deploy -m packaging -p no:xdist

# Who installs the library gets no lock: newer and older dependencies than the locked ones must do as well.
.PHONY: newest
newest: $(STAMP) $(RELEASE_STAMP) ## The rooms' tests with the newest release of every dependency (downloads)
	$(BIN)/python scripts/rooms newest $(ROOMS)

.PHONY: oldest
oldest: $(STAMP) $(RELEASE_STAMP) ## The rooms' tests with the oldest release that pyproject.toml allows of every dependency (downloads)
	$(BIN)/python scripts/rooms oldest $(ROOMS)

.PHONY: pythons
pythons: $(STAMP) ## The rooms' tests on every other supported Python that is at hand, with the lock (downloads)
	$(BIN)/python scripts/rooms locked $(ROOMS)

$(RELEASE_STAMP): requirements/release.lock
	$(call INSTALL_LOCK,$(RELEASE_VENV),requirements/release.lock)
	$(call CHECK_REQUIREMENTS,$(RELEASE_VENV))
	@touch $(RELEASE_STAMP)

.PHONY: dist
dist: $(RELEASE_STAMP) ## Wheel, source distribution and bill of materials in dist/, built twice and compared (see scripts/dist)
	@PYTHON=$(CURDIR)/$(RELEASE_VENV)/bin/python scripts/dist

# Whatever changes a cluster says first which one. The image is set in a copy: the files in config/ stay as they are.
define REACH
	@command -v $(KUBECTL) >/dev/null || { echo "make: needs kubectl: install it, or say KUBECTL=/path/to/kubectl" >&2; exit 2; }
	@context=$$($(KUBECTL) config current-context 2>/dev/null) || { echo "make: kubectl has no current context: choose one (kubectl config use-context NAME), or set KUBECONFIG" >&2; exit 2; }; \
	$(KUBECTL) version --request-timeout=10s >/dev/null 2>&1 || { echo "make: the cluster of context $$context does not answer: kubectl version tells why" >&2; exit 2; }; \
	echo "$@: context $$context"
endef

.PHONY: install
install: ## Install the CRDs into the current context's cluster
	$(REACH)
	@$(KUBECTL) apply -k config/crd

.PHONY: uninstall
uninstall: ## Remove the CRDs, and with them every Postgres
	$(REACH)
	@$(KUBECTL) delete --ignore-not-found -k config/crd

.PHONY: deploy
deploy: ## Apply config/default (three replicas, highly available) with the image IMG
	$(REACH)
	@KUBECTL=$(KUBECTL) scripts/deploy $(IMG)

.PHONY: undeploy
undeploy: ## Remove what deploy has applied, but for the CRDs (uninstall removes them)
	$(REACH)
	@KUBECTL=$(KUBECTL) scripts/deploy --delete

.PHONY: docker-build
docker-build: ## Build the operator's image as IMG
	@command -v $(DOCKER) >/dev/null || { echo "make: needs docker to build an image: install it, or say DOCKER=podman" >&2; exit 2; }
	@$(DOCKER) info >/dev/null 2>&1 || { echo "make: $(DOCKER) is there, but its engine does not answer: start it ($(DOCKER) info tells why)" >&2; exit 2; }
	$(DOCKER) build --tag $(IMG) .

COMPILE = $(RELEASE_VENV)/bin/uv pip compile --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --quiet

.PHONY: lock
lock: $(RELEASE_STAMP) ## Resolve requirements/*.lock anew; LOCK_FLAGS=--upgrade takes the newest releases (downloads)
	$(COMPILE) $(LOCK_FLAGS) --group dev --all-extras pyproject.toml --output-file requirements/dev.lock
	$(COMPILE) --constraints requirements/dev.lock pyproject.toml --output-file requirements/runtime.lock
	echo "hatchling>=1.27" | $(COMPILE) --constraints requirements/dev.lock - --output-file requirements/build.lock
	$(COMPILE) $(LOCK_FLAGS) --constraints requirements/build.lock --group release --no-sources --output-file requirements/release.lock

.PHONY: clean
clean: ## Remove the virtual environment and caches
	rm -rf $(VENV) .venv-* dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .coverage .coverage.* .run
