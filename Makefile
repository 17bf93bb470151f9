# Every target sets itself up: Python 3.11+, make and a package registry are enough.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-builtin-rules
.DELETE_ON_ERROR:

PYTHON ?= python3
CORES ?= 2
DEMO ?= demo
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
# an uv that is already there, else one of our own
UV := $(shell uv --version >/dev/null 2>&1 && command -v uv || echo .venv-uv/bin/uv)

export PATH := $(CURDIR)/$(BIN):$(PATH)
# Repeatable results: ITK, BLAS and OpenMP sum in one order. NO_ET: nipype phones home otherwise.
export ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS := 1
export OMP_NUM_THREADS := 1
export OPENBLAS_NUM_THREADS := 1
export NO_ET := 1
export UV_PYTHON_DOWNLOADS := never
export PYTHONDONTWRITEBYTECODE :=
export VIRTUAL_ENV := $(CURDIR)/$(VENV)

# one module in one process, in the order that tests/conftest.py gives: the long ones first
PARALLEL = -n $(CORES) --dist loadgroup --no-loadscope-reorder
SYSTEM_TESTS ?= tests/system
SYSTEM_PACKAGES := slurmctld slurmd slurm-client slurm-wlm-basic-plugins munge chromium openssh-server postgresql

.PHONY: help install test test-nightly test-system system-packages test-real demo lint lint-python lint-workflow types format schema schema-check reference reference-check docs lock training-env wheel clean

help:  ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(firstword $(MAKEFILE_LIST)) | sed -E 's/:[^#]*##/\t/' | expand -t 18

.venv-uv/bin/uv:
	$(PYTHON) -m venv .venv-uv
	.venv-uv/bin/python -m pip install --quiet 'uv>=0.8'

$(STAMP): requirements.lock pyproject.toml | $(filter .venv-uv/bin/uv,$(UV))
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "$$($(PYTHON) --version) is too old: Python 3.11 or newer is needed; set PYTHON=..." >&2; exit 2; }
	[ -x $(BIN)/python ] || $(UV) venv --quiet --python "$$($(PYTHON) -c 'import sys; print(sys.executable)')" $(VENV)
	$(UV) pip sync --quiet --require-hashes requirements.lock
	$(UV) pip install --quiet --no-deps --no-build-isolation --editable .
	touch $@

install: $(STAMP)  ## make .venv from the lock file

test: $(STAMP)  ## unit, workflow and real-scan tests (never calls apt)
	$(BIN)/python -m pytest $(PARALLEL) tests/unit tests/workflow tests/real

test-nightly: export MESEMS_NIGHTLY := 1
test-nightly: test  ## the same with every mutation, bad scan and real patient (an hour)

test-real: $(STAMP)  ## the tests on real scans alone
	$(BIN)/python -m pytest $(PARALLEL) tests/real

test-system: $(STAMP) system-packages  ## tests that need Debian packages (as root, see system-packages)
	$(BIN)/python -m pytest $(PARALLEL) $(SYSTEM_TESTS)

system-packages:  ## install Slurm, Chromium, OpenSSH, PostgreSQL (as root on Debian)
	@[ "$$(id -u)" = 0 ] || { echo "make $@ installs Debian packages: run it as root" >&2; exit 2; }
	dpkg -s $(SYSTEM_PACKAGES) >/dev/null 2>&1 || \
	  { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends $(SYSTEM_PACKAGES); }

demo: $(STAMP)  ## simulate a small trial as DICOM, take it in, run, score and send it (writes demo/); FULL=1: scans of 1 mm
	$(BIN)/mesems-mri demo --out $(DEMO) --cores $(CORES) $(if $(FULL),--full)

lint: lint-python lint-workflow  ## ruff, snakefmt, snakemake --lint

lint-python: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

lint-workflow: $(STAMP)
	$(BIN)/snakefmt --check Snakefile workflow
	mkdir -p build/lint/bids/sub-01/ses-1/anat
	touch build/lint/bids/sub-01/ses-1/anat/sub-01_ses-1_FLAIR.nii.gz
	$(BIN)/snakemake --lint --config bids_dir=build/lint/bids out_dir=build/lint/out >build/lint/log 2>&1 || \
	  grep -q '^Lints for' build/lint/log || { cat build/lint/log; exit 1; }
	@# one lint is waived: every rule calls the command line of this package, whose environment is the lock file's
	! grep -B1 '^    \* ' build/lint/log | grep -vE '^--|^Lints for|Specify a conda environment or container'

types: $(STAMP)  ## pyright
	$(BIN)/pyright

format: $(STAMP)  ## rewrite the sources in the house style
	$(BIN)/ruff check --fix-only --quiet .
	$(BIN)/ruff format .
	$(BIN)/snakefmt Snakefile workflow

schema: $(STAMP)  ## write config/schema.json anew
	$(BIN)/python -m mesems_mri.config > config/schema.json.tmp
	mv config/schema.json.tmp config/schema.json

schema-check: $(STAMP)  ## fail if config/schema.json is not what the code says
	$(BIN)/python -m mesems_mri.config | diff -u config/schema.json -

reference: $(STAMP)  ## write the pages of docs/reference/ anew
	$(BIN)/python -m docs.tools.reference

reference-check: $(STAMP)  ## fail if docs/reference/ is not what the code says
	$(BIN)/python -m docs.tools.reference --check

# Links to other hosts are checked for their spelling only: nothing here needs a network.
docs: reference-check  ## build the documentation into build/docs and check its links
	rm -rf build/docs
	$(BIN)/sphinx-build --quiet --fail-on-warning --keep-going docs build/docs
	$(BIN)/python -m docs.tools.links build/docs README.md CONTRIBUTING.md CHANGELOG.md \
	  $$(find docs benchmarks mesems_mri -name '*.md')
	@echo "open build/docs/index.html"

# One resolve for everything; the container's list is the same one without the tools for development.
lock: | $(filter .venv-uv/bin/uv,$(UV))  ## resolve the dependencies anew
	$(UV) pip compile pyproject.toml --extra slurm --extra central --extra review --group dev --universal --python-version 3.11 --upgrade --quiet \
	  --no-emit-index-url --no-annotate --no-header --generate-hashes --output-file requirements.lock
	$(UV) pip compile pyproject.toml --extra slurm --extra central --extra review --universal --python-version 3.11 --constraint requirements.lock --quiet \
	  --no-emit-index-url --no-annotate --no-header --generate-hashes --output-file containers/requirements.lock
	$(UV) pip compile --group central --universal --python-version 3.11 --constraint requirements.lock --quiet \
	  --no-emit-index-url --no-annotate --no-header --generate-hashes --output-file containers/central.lock

# torch alone takes most of the 7 GB; the package itself never needs it.
training-env: | $(filter .venv-uv/bin/uv,$(UV))  ## make .venv-training, in which models are trained
	[ -x .venv-training/bin/python ] || \
	  $(UV) venv --quiet --python "$$($(PYTHON) -c 'import sys; print(sys.executable)')" .venv-training
	VIRTUAL_ENV=$(CURDIR)/.venv-training $(UV) pip sync --quiet --require-hashes training/requirements.lock
	VIRTUAL_ENV=$(CURDIR)/.venv-training $(UV) pip install --quiet --no-deps --no-build-isolation --editable .

wheel: $(STAMP)  ## build the wheel into dist/
	$(BIN)/hatchling build -t wheel

clean:  ## remove environments and products
	rm -rf .venv .venv-uv .venv-training dist build $(DEMO) .pytest_cache .ruff_cache .hypothesis .snakemake
