# `make train` and `make test` build the .venv they need, with uv where there is one
# and with plain python3 and pip elsewhere. PYTHON=... chooses another interpreter,
# ARGS=... goes to eqprop or pytest.

VENV := .venv
PY := $(VENV)/bin/python
RUN_READY := $(VENV)/.ready-run
DEV_READY := $(VENV)/.ready-dev
PYTHON ?=
PYTHON3 := $(or $(PYTHON),python3)
WORKERS ?= 2
ARGS ?=

.PHONY: help train test test-long bench docs browser lint format clean

help:
	@echo "make train      train a network on the bundled digits (ARGS=\"--epochs 3\")"
	@echo "make test       lint, type check, and every test but the long ones"
	@echo "make test-long  the tests that take minutes"
	@echo "make bench      measure the speed on this machine (ARGS=\"steps --quick\")"
	@echo "make docs       build the documentation into build/site"
	@echo "make lint       ruff and pyright only"
	@echo "make format     rewrite the code as ruff formats it"
	@echo "make clean      remove $(VENV), caches and builds; runs/ stays"

train: $(RUN_READY)
	$(VENV)/bin/eqprop train digits $(ARGS)

# A worker keeps a file's tests together, since they share what they compile.
test: lint browser
	$(PY) -m pytest -n $(WORKERS) --dist worksteal -m "not long" $(ARGS)

test-long: $(DEV_READY) browser
	$(PY) -m pytest -m long $(ARGS)

# The page tests drive the system's Chromium. Where there is none, Debian's is installed.
browser:
	@for name in chromium chromium-browser google-chrome; do \
	  command -v $$name >/dev/null 2>&1 && exit 0; done; \
	if ! command -v apt-get >/dev/null 2>&1; then \
	  echo "No Chromium here: the page tests are skipped. Install it to run them." >&2; \
	  exit 0; fi; \
	echo "Installing Chromium for the page tests (once) ..."; \
	as_root=""; [ "$$(id -u)" = 0 ] || as_root=sudo; \
	$$as_root apt-get update -qq && \
	$$as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq \
	  --no-install-recommends chromium fonts-dejavu-core >/dev/null

bench: $(RUN_READY)
	$(VENV)/bin/eqprop bench $(ARGS)

docs: $(DEV_READY)
	$(PY) tools/make_docs.py $(ARGS)

# GLOBAL_NODE=0: the Node pinned through the lint group, not whatever is on PATH.
lint: $(DEV_READY)
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	PYRIGHT_PYTHON_GLOBAL_NODE=0 $(VENV)/bin/pyright

format: $(DEV_READY)
	$(VENV)/bin/ruff check --fix-only .
	$(VENV)/bin/ruff format .

clean:
	rm -rf $(VENV) dist build .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# What the README and the first page of the documentation use: plots and the viewer too.
RUN_EXTRAS := data,plot,view

# A stamp older than pyproject.toml, than this file's extras, or than the interpreter
# behind the symlink installs again. A dangling symlink (Python was removed) counts as
# missing.
$(RUN_READY): pyproject.toml Makefile $(PY)
	@echo "Installing eqprop into $(VENV) (once; JAX is about 100 MB) ..."
	@if command -v uv >/dev/null 2>&1; then \
	  uv pip install --quiet --python $(PY) -e ".[$(RUN_EXTRAS)]"; \
	else \
	  { $(PY) -m pip --version >/dev/null 2>&1 || $(PY) -m ensurepip; } && \
	  $(PY) -m pip install --quiet -e ".[$(RUN_EXTRAS)]"; \
	fi
	@touch $@

# `pip install --group` came with pip 25.1; Python 3.11 brings 23 or 24.
$(DEV_READY): pyproject.toml $(PY)
	@echo "Installing eqprop and its tools into $(VENV) (once) ..."
	@if command -v uv >/dev/null 2>&1; then \
	  uv pip install --quiet --python $(PY) -e ".[all]" --group dev; \
	else \
	  { $(PY) -m pip --version >/dev/null 2>&1 || $(PY) -m ensurepip; } && \
	  $(PY) -m pip install --quiet --upgrade "pip>=25.1" && \
	  $(PY) -m pip install --quiet -e ".[all]" --group dev; \
	fi
	@touch $@

$(PY):
	@rm -rf $(VENV)
	@if command -v uv >/dev/null 2>&1; then \
	  uv venv --quiet --python "$(or $(PYTHON),>=3.11)" $(VENV); \
	else \
	  command -v $(PYTHON3) >/dev/null 2>&1 || { \
	    echo "eqprop needs Python 3.11 or newer, but \`$(PYTHON3)\` is not on PATH." >&2; \
	    echo "Install it, or name one: make train PYTHON=/path/to/python3.11" >&2; \
	    exit 1; }; \
	  $(PYTHON3) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	    echo "eqprop needs Python 3.11 or newer, but \`$(PYTHON3)\` is" \
	      "$$($(PYTHON3) --version 2>&1). Name a newer one:" \
	      "make train PYTHON=python3.12" >&2; \
	    exit 1; }; \
	  $(PYTHON3) -m venv $(VENV); \
	fi
