# Take One's commands; `make` alone lists them. Each installs what it needs into .venv first.

PYTHON ?= python3
PORT ?= 8000
MINUTES ?= 5
ARGS ?=
ONLY ?=

BIN := .venv/bin
RECENT := import sys; sys.exit(sys.version_info < (3, 11))
INSTALL := $(BIN)/python -m pip install -qq --disable-pip-version-check --no-input --require-hashes -r
# Extras are kept: pip calls a package unpinned if another asks for it with an extra that the lock does not name.
COMPILE := $(BIN)/uv pip compile --universal --python-version 3.11 --generate-hashes --no-header --quiet \
	--no-strip-extras --extra simulator --extra s3
# What conformance runs against. What needs a GPU is installed without what it requires; npm locks aimock.
COMPILE_SERVER := $(BIN)/uv pip compile --universal --python-version 3.11 --generate-hashes --no-header --quiet \
	--no-strip-extras

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help up test quick lint fmt lock mutants mutation soak bench conformance

help: ## List the commands.
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "make %-11s %s\n", $$1, $$2}' Makefile

up: .venv/runtime.installed ## Start everything on PORT (8000), until Ctrl-C.
	@exec $(BIN)/python -m config.embedded.up --port $(PORT)

test: .venv/dev.installed ## Run every check and test; ARGS are for pytest.
	@exec $(BIN)/python -m tests.run $(ARGS)

quick: .venv/dev.installed ## Run the static checks, then the quick tests up to the first failure.
	@exec $(BIN)/python -m tests.run --quick $(ARGS)

mutants: .venv/dev.installed ## Remove each guard in turn; a test must fail. ARGS="--only lease", --list.
	@exec $(BIN)/python -m tests.faults.mutants $(ARGS)

mutation: .venv/dev.installed ## Have mutmut change the code of money and sending; tests must notice. ONLY=videos.lifecycle
	@rm -rf mutants
	@DATABASE_URL= MUTATED="$(ONLY)" $(BIN)/mutmut run $(if $(ONLY),"$(ONLY)*") $(ARGS)
	@exec $(BIN)/python -m tests.faults.survivors --only "$(ONLY)"

soak: .venv/dev.installed ## Kill, freeze and restart everything under load for MINUTES (5); ARGS="--seed 1".
	@exec $(BIN)/python -m tests.faults.soak --minutes $(MINUTES) $(ARGS)

bench: .venv/dev.installed ## Measure it, against a baseline of the same run. ARGS="--quick", ARGS="--write".
	@exec $(BIN)/python -m bench.run $(ARGS)

conformance: .venv/dev.installed ## Try it against the code of others: servers, an SDK, a mock. ARGS="--only NAME".
	@exec $(BIN)/python -m tests.conformance.run $(ARGS)

# mypy imports the settings, which would otherwise make a secret key and keep it in var/.
lint: .venv/dev.installed ## Run the linter and the type checker.
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	SECRET_KEY=unused $(BIN)/mypy
	$(BIN)/lint-imports

fmt: .venv/dev.installed ## Format the code and fix what ruff can fix.
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

lock: .venv/dev.installed ## Pin what pyproject.toml asks for, with hashes.
	$(COMPILE) pyproject.toml -o requirements/runtime.txt
	$(COMPILE) --extra dev pyproject.toml -o requirements/dev.txt
	for server in litellm stand-ins openrouter-sdk; do $(COMPILE_SERVER) requirements/conformance-$$server.in \
		-o requirements/conformance-$$server.txt || exit; done
	for server in sglang vllm-omni; do $(COMPILE_SERVER) --no-deps requirements/conformance-$$server.in \
		-o requirements/conformance-$$server.txt || exit; done
	! command -v npm >/dev/null || for judge in aimock openai-node; do npm install --package-lock-only \
		--ignore-scripts --omit-lockfile-registry-resolved --prefix requirements/conformance-$$judge || exit; done

# A stamp is written after its install has ended, so an interrupted one is done again.
.venv/runtime.installed: requirements/runtime.txt $(BIN)/python
	@echo "Installing what Take One needs into .venv ..."
	@$(INSTALL) $<
	@touch $@

# What tests need includes what runs, in the same versions (tests.locks keeps that so).
.venv/dev.installed: requirements/dev.txt $(BIN)/python
	@echo "Installing what the tests need into .venv ..."
	@$(INSTALL) $<
	@touch .venv/runtime.installed $@

# Made again if it is missing, unfinished, or its Python is gone.
ifneq ($(shell $(BIN)/python -c 'import pip; $(RECENT)' 2>/dev/null && echo usable),usable)
.PHONY: $(BIN)/python
endif
$(BIN)/python:
	@$(PYTHON) -c '$(RECENT)' 2>/dev/null || { \
		echo "Take One needs Python 3.11 or later, and $(PYTHON) is" \
			"$$($(PYTHON) --version 2>/dev/null || echo missing). Name another: make PYTHON=python3.12 ..." >&2; \
		exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { \
		echo "$(PYTHON) comes without venv; Debian and Ubuntu have it in the package python3-venv." >&2; exit 1; }
	@$(PYTHON) -m venv --clear .venv
