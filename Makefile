# Needs make and Python 3.11 or newer. Everything else is installed into .venv, once, when a target first needs it.
#
#   make demo     anonymise two pictures into demo-output/
#   make test     run the tests, but the slow ones
#   make test-web   the tests of the review desk's page in Chromium, which it installs (as root, on Debian)
#   make lint     ruff (rules and format) and pyright
#   make docs     build the documentation site into build/docs/site and check it
#   make check    all that must hold before a change goes in: lint, every test with coverage, the wheel installed and
#                 used, the oldest and newest versions of what styleid needs, and the documentation
#   make bench    compare with deface; ARGS="FOLDER --repeats 5" is passed on
#   make clean    remove what the above wrote, except .venv
#
# PYTHON=python3.12 make test chooses the interpreter that .venv is made with.

PYTHON ?= python3
ARGS ?=
# a process for each core; a file's tests run in one of them, so that what they prepare is prepared once
EACH_CORE := -n auto --dist loadfile

VENV := .venv
BIN := $(VENV)/bin
NEEDS := pyproject.toml constraints.txt
RUN := $(VENV)/.installed-run
DEV := $(VENV)/.installed-dev
DOCS := $(VENV)/.installed-docs
# -qq: errors only
PIP := $(BIN)/python -m pip install -qq --disable-pip-version-check -c constraints.txt

.PHONY: help demo test test-web docs lint check coverage package versions bench clean
.NOTPARALLEL:

help:
	@sed -n 's/^#   //p' Makefile

demo: $(RUN)
	$(BIN)/python examples/demo.py

test: $(DEV)
	$(BIN)/python -m pytest -m 'not slow' $(EACH_CORE) $(ARGS)

test-web: $(DEV)
	@$(PIP) playwright axe-playwright-python
	@command -v chromium >/dev/null || { [ "$$(id -u)" = 0 ] && apt-get update -qq && apt-get install -y -qq chromium; } \
	  || [ -n "$$STYLEID_CHROMIUM" ] || { echo "Install Chromium, or name it: STYLEID_CHROMIUM=... make test-web" >&2; exit 1; }
	$(BIN)/python -m pytest -m web -rs $(ARGS)

docs: $(DOCS)
	$(BIN)/python tools/build_docs.py
	$(BIN)/python -m pytest tests/test_docs.py tests/test_readme.py

check: lint coverage package versions docs

coverage: $(DEV)
	$(BIN)/python -m pytest --cov --cov-report= --durations=20 $(EACH_CORE) $(ARGS)
	$(BIN)/python tools/coverage_rooms.py

package: $(DEV)
	$(BIN)/python tools/check_package.py

versions: $(DEV)
	$(BIN)/python tools/check_versions.py

lint: $(DEV)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright

bench: $(RUN)
	$(BIN)/python benchmarks/against_deface.py $(ARGS)

clean:
	rm -rf demo-output build dist .cache .coverage .pytest_cache .ruff_cache .hypothesis
	find src tests tools benchmarks examples -name __pycache__ -type d -prune -exec rm -rf {} +

# What a user installs, and scikit-image for its picture of an astronaut.
$(RUN): $(NEEDS) | $(BIN)/python
	@echo "Installing styleid into $(VENV) ..."
	@$(PIP) -e . 'scikit-image>=0.22'
	@$(call mend_opencv)
	@touch $@

# All that the tests need; it holds the above, which is then not installed again.
$(DEV): $(NEEDS) | $(BIN)/python
	@echo "Installing styleid with the extras lab, eval, video, datasets, remote, web and dev into $(VENV) ..."
	@$(PIP) -e '.[lab,eval,video,datasets,remote,web,dev]'
	@$(call mend_opencv)
	@touch $(RUN) $@

$(DOCS): $(NEEDS) | $(DEV)
	@echo "Installing what builds the documentation into $(VENV) ..."
	@$(PIP) -e '.[docs]'
	@touch $@

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "styleid needs Python 3.11 or newer; name one: make PYTHON=python3.12 ..." >&2; exit 1; }
	@$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); exit 1; }

# OpenCV's usual build needs the system's libGL, which servers and containers lack: there its headless build serves.
mend_opencv = $(BIN)/python -c 'import cv2' 2>/dev/null || $(PIP) --no-deps --force-reinstall opencv-python-headless
