# Everything a developer or a newcomer runs. `make help` lists it.
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
COMPAT := .venv-compat

.PHONY: help setup setup-compat demo test test-all test-compat test-torch browser lint clean
.DEFAULT_GOAL := help

help:  ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

setup: $(READY)  ## install everything into .venv (slow the first time: mmcv is compiled)

setup-compat: $(COMPAT)/.ready  ## the same with the original packages, into .venv-compat

REQUIREMENTS := requirements/install.sh requirements/torch.txt requirements/dev.txt setup.py

$(READY): $(REQUIREMENTS) $(wildcard requirements/onedl/*.txt)
	PYTHON=$(PYTHON) requirements/install.sh $(VENV) onedl
	touch $@

$(COMPAT)/.ready: $(REQUIREMENTS) $(wildcard requirements/openmmlab/*.txt)
	PYTHON=$(PYTHON) requirements/install.sh $(COMPAT) openmmlab
	touch $@

demo: setup  ## draw data, train and evaluate a detector and a segmenter on the CPU
	$(BIN)/hiera-dense demo

# Files of tests go to as many processes as there are cores.
PYTEST := -m pytest -n auto --dist loadfile

test: setup  ## run the quick tests
	$(BIN)/python $(PYTEST) -m "not slow"

test-all: setup  ## run all tests
	$(BIN)/python $(PYTEST)

test-compat: setup-compat  ## run all tests on the original packages
	$(COMPAT)/bin/python $(PYTEST)

test-torch:  ## run the tests of the trunk alone on another torch: make test-torch TORCH=2.9.1
	requirements/test_torch.sh "$(TORCH)" $(PYTHON)

browser:  ## install Debian's Chromium, in which tests look at the page of `hiera-dense serve`
	apt-get update -qq && apt-get install -qq chromium

lint: setup  ## check style and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

clean:  ## remove what the other targets made, except the environments
	rm -rf work_dirs data/toy build *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
