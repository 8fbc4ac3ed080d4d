# Every target uses .venv; `make env` makes it and reuses it while pyproject.toml and constraints.txt are as they were.
PYTHON ?= python3
VENV := $(CURDIR)/.venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed-$(shell cat pyproject.toml constraints.txt | cksum | cut -d' ' -f1)
PYTEST_WORKERS ?= 2
CHAIN_WORKERS ?= 3  # one more than cores: these tests wait for servers and clients much of the time

BY_FILE := --dist loadfile --no-loadscope-reorder  # tests/conftest.py has the order

export MLFLOW_DISABLE_TELEMETRY := true
export DVC_NO_ANALYTICS := 1
export BENTOML_DO_NOT_TRACK := True
export DO_NOT_TRACK := 1
export PATH := $(BIN):$(PATH)

.PHONY: help env demo real benchmark-accuracy benchmark-cost benchmark-engine report test checks lint types contracts properties unit chains chromium test-browser clean

help: ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

env: $(STAMP) ## make .venv with everything installed

$(STAMP):
	$(PYTHON) -m venv $(VENV)
	pip install --quiet --disable-pip-version-check --no-compile torch==2.13.0
	pip install --quiet --disable-pip-version-check --no-compile -c constraints.txt -e '.[train,serve,dev]'
	python -m compileall -qq -j 0 $(VENV)/lib || true  # on all cores; some packages carry templates that are no Python
	rm -f $(VENV)/.installed-*
	touch $@

demo: env ## install, make the embedded data set, run the whole pipeline, say where to look
	dvc repro
	python -m pipelines.where

real: env ## the same stages on a real data set: make real DATA=path/to/dataset
	@test -n "$(DATA)" || { echo "say which data set: make real DATA=path/to/dataset"; exit 2; }
	python -m pipelines.workspace "$(DATA)" runs
	cd "runs/$(notdir $(patsubst %/,%,$(DATA)))" && PYTHONPATH=src dvc repro verify && python -m pipelines.where

benchmark-accuracy: env ## accuracy and cost on many sets: make benchmark-accuracy DATA=path/to/sets [ARGS="--models cnn --minutes 60"], or ARGS=--quick
	python -m benchmarks.accuracy $(if $(DATA),--data "$(DATA)") $(ARGS)

benchmark-cost: env ## how memory and time grow with the image: make benchmark-cost [DATA=path/to/sets] [ARGS="--max-mp 16"], or ARGS=--quick
	python -m benchmarks.cost $(if $(DATA),--data "$(DATA)") $(ARGS)

benchmark-engine: env ## speed, memory and ceiling of the engine: make benchmark-engine DATA=path/to/sets [ARGS="--max-mp 2000"], or ARGS=--quick
	pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[benchmark]' || true  # the page names opponents that are not there
	python -m benchmarks.engine $(if $(DATA),--data "$(DATA)") $(ARGS)

report: env ## write reports/ again from the stored evaluation
	python -m pipelines.report

test: env ## everything that CI runs
	$(MAKE) --jobs 2 checks properties  # which compile nearly all kernels, for all that follows
	$(MAKE) --jobs 2 unit chains  # one waits where the other computes: two thirds of the time

checks: lint types contracts

lint: env
	ruff check
	ruff format --check

types: env
	mypy

contracts: env
	lint-imports

properties: env ## property tests of superpixels, graphs and scores
	pytest tests/properties

unit: env ## unit tests
	pytest -n $(PYTEST_WORKERS) $(BY_FILE) tests/unit

chains: env chromium ## DVC stages, clone and reproduce, the chain without DVC, a Bento built and served, the page
	pytest -n $(CHAIN_WORKERS) $(BY_FILE) tests/pipelines tests/serving tests/browser

chromium:  # where it cannot be installed, the tests of the page skip
	command -v chromium || command -v chromium-browser || \
	  { apt-get update -qq && apt-get install -y -qq --no-install-recommends chromium; } || true

test-browser: env chromium ## the page in a headless Chromium, installed by apt where it is missing; else the tests skip
	pytest tests/browser

clean: ## remove what the pipeline made; data sets, .venv and MLflow's records stay
	rm -rf $(addprefix data/,phantom prepared superpixels graphs masks) reports build
	rm -rf $(addprefix models/,checkpoints evaluation metrics.json selected.json bundle verification.json)
