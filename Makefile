# Everything a developer or a newcomer runs. `make help` lists it.
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
COMPAT := .venv-compat

.PHONY: help setup setup-compat demo test test-all test-compat test-torchvision test-torch browser \
	lint wheel docs notebook clean
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

# mmcv_ops/ in the place of mmcv's compiled ops; soft-NMS is not among them.
NO_COMPILER := .venv-torchvision
OPS_TESTS := tests/mm/test_families.py tests/mm/test_tta.py tests/mm/test_sliding.py tests/mm/test_trained.py \
	tests/deploy/test_detector_file.py \
	--deselect "tests/mm/test_sliding.py::test_objects_are_found_once_and_where_they_are[nms1]"

$(NO_COMPILER)/.ready: $(REQUIREMENTS) $(wildcard requirements/onedl/*.txt mmcv_ops/mmcv/*.py)
	PYTHON=$(PYTHON) requirements/install.sh $(NO_COMPILER) onedl torchvision
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

test-torchvision: $(NO_COMPILER)/.ready  ## run the tests that train and predict without compiled ops
	$(NO_COMPILER)/bin/python $(PYTEST) $(OPS_TESTS)

test-torch:  ## run the tests of the trunk alone on another torch: make test-torch TORCH=2.9.1
	requirements/test_torch.sh "$(TORCH)" $(PYTHON)

browser:  ## install Debian's Chromium, in which tests look at the page of `hiera-dense serve`
	apt-get update -qq && apt-get install -qq chromium

lint: setup  ## check style and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/zizmor --quiet --offline --min-severity medium .github
	$(BIN)/hadolint docker/Dockerfile

wheel:  ## build what is published into dist/, and install it into an empty environment
	requirements/wheel.sh $(PYTHON)

# A warning fails the build: links, anchors and pages without a place are checked. The variable silences
# an advertisement.
docs: setup  ## build the site of the documents into site/
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict
	@echo "look at it: python3 -m http.server --directory site, then http://localhost:8000"

notebook: setup  ## run docs/tutorial.ipynb again, and keep its outputs (minutes)
	$(BIN)/python -m tools.site.notebook

clean:  ## remove what the other targets made, except the environments
	rm -rf work_dirs data/toy build dist site *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
