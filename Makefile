# Everything a developer or a newcomer runs. `make help` lists it.
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.PHONY: help setup demo test lint clean
.DEFAULT_GOAL := help

help:  ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

setup: $(READY)  ## install everything into .venv (slow the first time: mmcv is compiled)

$(READY): requirements/install.sh requirements/torch.txt requirements/hosts.txt requirements/dev.txt requirements/constraints.txt setup.py
	PYTHON=$(PYTHON) requirements/install.sh $(VENV)
	touch $@

demo: setup  ## draw data, train and evaluate a detector and a segmenter on the CPU
	$(BIN)/python tools/demo.py

test: setup  ## run the tests
	$(BIN)/python -m pytest

lint: setup  ## check style and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

clean:  ## remove what the other targets made, except the environment
	rm -rf work_dirs data/toy build *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
