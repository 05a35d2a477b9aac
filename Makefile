# Two commands do everything: `make dev` and `make test`. The rest is for the people who change CVMS.
VENV := .venv
BIN := $(VENV)/bin
PYTHON ?= python3.11
INSTALLED := $(VENV)/.installed

# Debian keeps ensurepip, which venv needs, in a package of its own.
define INSTALL_VENV
{ [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null && echo "Installing python3-venv ..." \
	&& apt-get update -qq && apt-get install -y -qq python3-venv >/dev/null; } \
	|| { echo "$(PYTHON) has no ensurepip: run apt-get install python3-venv as root" >&2; exit 1; }
endef

PORT ?= 8080
LOCALNET_PORT ?= 8899
DATA_DIR ?= .cvms
SEEDS ?= 0-99
SEED ?= 0
MINUTES ?= 15
JOBS ?= 2
CLIENT_TOOLS = .client-tools
IMAGE_ROOT = build/image
PAGES = cvms/http/pages
VERIFIER = clients/verifier
SCREENSHOTS ?= build/incident
OPENAPI_GENERATOR = 7.25.0
# Twice the number of cores or so: half of the time a test waits.
WORKERS ?= 4
# Many images set it. Then each test process, and each process that a test starts, compiles all it imports.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help install dev demo test client clients fuzz mutants wallet-fuzz scenario scenario-long chaos soak bench conformance lint types settings check program clippy image lock pages pages-check incident dashboards drills release clean

help: ## show this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /  make \1	/' | expand -t 23

install: $(INSTALLED) ## build .venv from the pinned, hashed requirements

$(INSTALLED): requirements-dev.txt pyproject.toml
	@command -v $(PYTHON) >/dev/null || { echo "$(PYTHON) is not installed: apt-get install python3 python3-venv, or set PYTHON" >&2; exit 1; }
	@echo "Building $(VENV) from requirements-dev.txt ..."
	@$(PYTHON) -c 'import ensurepip' 2>/dev/null || $(INSTALL_VENV)
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements-dev.txt
	@$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

# `exec`: Ctrl-C and SIGTERM reach the program itself, and make waits for its clean end.
dev: $(INSTALLED) ## run database, local chain and server; Ctrl-C stops all
	@exec $(BIN)/cvms dev --port $(PORT) --localnet-port $(LOCALNET_PORT) --data-dir "$(DATA_DIR)"

demo: $(INSTALLED) ## what a vault can do, step by step, against a running `make dev`
	@exec $(BIN)/cvms demo --url http://127.0.0.1:$(PORT) --rpc-url http://127.0.0.1:$(LOCALNET_PORT)

test: $(INSTALLED) ## run the whole suite on its own databases and chains
	$(BIN)/pytest -n $(WORKERS) --dist load --maxschedchunk 1

client: $(INSTALLED) ## build, pack and test the TypeScript client and verifier, in Node and Chromium
	npm ci --prefix clients/typescript
	npm ci --prefix $(VERIFIER)
	CVMS_REQUIRE_SERVERS=1 $(BIN)/pytest tests/clients tests/http/websocket/test_asyncapi.py

fuzz: MINUTES = 10
fuzz: $(INSTALLED) ## attacks on the programs and new steps against their specification, for MINUTES (10); counts them
	HYPOTHESIS_PROFILE=long FUZZ_MINUTES=$(MINUTES) $(BIN)/pytest -s tests/program/state_machine

mutants: $(INSTALLED) ## faults in the programs' sources, each of which must fail a test; ONLY=part of a name, ALL=1 those of record.txt, too
	@exec $(BIN)/python -m tests.program.mutants --jobs $(JOBS) $(if $(ALL),--all) $(ONLY)

wallet-fuzz: $(INSTALLED) ## 20,000 mutations of planned transactions: the operator loses no more than its fees
	WALLET_MUTATIONS=20000 $(BIN)/pytest -s tests/http/operations/test_fee_payer_machine.py

scenario: $(INSTALLED) ## books against chain under faults and kills; SEEDS=7,20-400 says which
	SCENARIO_SEEDS=$(SEEDS) $(BIN)/pytest tests/scenario/test_scenario.py

scenario-long: $(INSTALLED) ## the same once with 5,000 transactions, a minute without RPC, five kills
	SCENARIO_SEEDS=$(SEED) $(BIN)/pytest -s tests/scenario/long_run.py

chaos: $(INSTALLED) ## two replicas while all they depend on fails; SEED and MINUTES (15) say how
	CHAOS_SEED=$(SEED) CHAOS_MINUTES=$(MINUTES) $(BIN)/pytest -s tests/chaos/test_chaos.py

soak: MINUTES = 30
soak: $(INSTALLED) ## mixed load without faults for MINUTES (30); plots memory and files to docs/soak.svg
	SOAK_MINUTES=$(MINUTES) $(BIN)/pytest -s tests/chaos/soak.py

bench: $(INSTALLED) ## every benchmark, at most 15 minutes; fails if a ratio fell by a third since the last
	$(BIN)/python -m bench.run_all

conformance: $(INSTALLED) ## the local chain against a solana-test-validator on PATH, or its recording
	$(BIN)/python -m tests.conformance.compare
	$(BIN)/pytest tests/conformance tests/operations/test_from_nothing.py

lint: $(INSTALLED) ## style, formatting and the direction of imports
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports

types: $(INSTALLED) ## the type checker in strict mode
	$(BIN)/mypy

settings: $(INSTALLED) ## write the table of settings in README.md
	$(BIN)/python -m cvms.config.readme_table README.md

dashboards: $(INSTALLED) ## write the JSON of Grafana's dashboards in deploy/monitoring/dashboards
	$(BIN)/python -m deploy.monitoring.dashboards

drills: $(INSTALLED) ## make each fault, and end its alert with the commands of its page in docs/runbooks
	CVMS_REQUIRE_SERVERS=1 $(BIN)/pytest -s tests/runbooks/drills.py tests/runbooks/test_watched_service.py

check: test lint types ## everything that a change must pass

program: ## rebuild the on-chain program (program/README.md says with what)
	program/build.sh

clients: $(INSTALLED) ## clients of five generators, made, compiled and run against a service
	npm ci --silent --no-audit --no-fund --prefix clients/generated
	test -x $(CLIENT_TOOLS)/python/bin/openapi-python-client || { $(PYTHON) -m venv $(CLIENT_TOOLS)/python \
	    && $(CLIENT_TOOLS)/python/bin/pip install --quiet -r clients/generated/python/requirements.txt; }
	mvn --quiet --batch-mode dependency:copy -DoutputDirectory=$(CLIENT_TOOLS) -Dmdep.stripVersion=true \
	    -Dartifact=org.openapitools:openapi-generator-cli:$(OPENAPI_GENERATOR)
	CVMS_REQUIRE_SERVERS=1 CLIENT_TOOLS="$(CURDIR)/$(CLIENT_TOOLS)" $(BIN)/pytest tests/generated_clients/test_typescript.py \
	    tests/generated_clients/every_generator.py

pages: ## build the console, the owner's page and /verify of their sources into cvms/http/pages/dist; needs Node 20
	npm ci --silent --no-audit --no-fund --prefix $(VERIFIER)
	npm ci --silent --no-audit --no-fund --prefix $(PAGES)
	npm run --silent --prefix $(PAGES) build

pages-check: ## the committed pages are what their sources say, byte for byte
	npm ci --silent --no-audit --no-fund --prefix $(VERIFIER)
	npm ci --silent --no-audit --no-fund --prefix $(PAGES)
	npm run --silent --prefix $(PAGES) check

incident: $(INSTALLED) ## an incident at the console in Chromium; what it shows goes to SCREENSHOTS
	CVMS_REQUIRE_SERVERS=1 SCREENSHOTS="$(SCREENSHOTS)" $(BIN)/pytest -s tests/http/pages/incident.py

clippy: ## lint the on-chain programs (`program/clippy.sh --install` installs clippy)
	program/clippy.sh

image: $(INSTALLED) ## the image's files without a container engine, and the service run in them; as root
	rm -rf $(IMAGE_ROOT)
	deploy/image/build.sh $(IMAGE_ROOT)
	IMAGE_ROOT=$(abspath $(IMAGE_ROOT)) $(BIN)/pytest tests/deploy/image.py

lock: $(INSTALLED) ## pin requirements.txt and requirements-dev.txt anew from pyproject.toml
	$(BIN)/pip install --quiet "uv==0.13.9"
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
	    --no-emit-find-links --no-annotate --custom-compile-command "make lock" pyproject.toml -o requirements.txt
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
	    --no-emit-find-links --no-annotate --custom-compile-command "make lock" --extra dev --extra pkcs11 --group test \
	    --constraint requirements.txt pyproject.toml -o requirements-dev.txt

release: $(INSTALLED) ## wheel, source, list of components and checksums in dist/; the same bytes everywhere
	.ci/release dist

clean: ## remove the virtual environment and every cache; data stays
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis program/target \
	    $(CLIENT_TOOLS) clients/*/node_modules $(PAGES)/node_modules clients/typescript/dist clients/typescript/example/dist \
	    $(VERIFIER)/dist
	find cvms tests -name __pycache__ -type d -prune -exec rm -rf {} +
