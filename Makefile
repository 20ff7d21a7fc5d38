# Every target works in an empty clone: it makes .venv and installs into it what is
# missing. Once .venv is whole, nothing is installed and no network is needed.

PYTHON ?= python3
PYTEST_ARGS ?=
DEMO_TRAIN ?= 1500
DEMO_VAL ?= 120
DEMO_SIZE ?= 192

VENV := .venv
# Written last, so that a half-finished install is never taken for a whole one.
STAMP := $(VENV)/.installed
RUN := $(VENV)/bin/python
# A process needs 2 GiB; four of them fill the machine of a laptop.
PYTEST := JAX_PLATFORMS=cpu $(RUN) -m pytest --durations=10 \
  --numprocesses logical --maxprocesses 4 --dist loadfile \
  --no-loadscope-reorder \
  --jaxtyping-packages=logocap_jax,data_pipeline,beartype.beartype

# Only what .venv holds counts, not what the machine happens to have.
unexport PYTHONPATH PYTHONHOME

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help install demo test test-all faults docs lint format

help: ## list the targets
	@echo "usage: make TARGET [PYTHON=/path/to/python3.11]"
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-9s %s\n", $$1, $$2 }' Makefile

install: $(STAMP) ## make .venv and install the project with its development tools

demo: $(STAMP) ## draw people, train on them, evaluate; resumes
	@echo "==> demo 1/3: draw $(DEMO_TRAIN) + $(DEMO_VAL) images of $(DEMO_SIZE) px"
	$(VENV)/bin/logocap prepare synthetic --out demo/data \
	  --train $(DEMO_TRAIN) --val $(DEMO_VAL) --size $(DEMO_SIZE) --seed 0
	@echo "==> demo 2/3: train"
	$(RUN) train.py --config configs/demo.py --workdir demo/run
	@echo "==> demo 3/3: evaluate"
	$(RUN) eval.py --config configs/demo.py --workdir demo/run --out demo --draw 12
	@echo "==> done: demo/metrics.json  demo/overlays  demo/loss_curve.png"

test: $(STAMP) ## run the tests but for the slow ones (PYTEST_ARGS adds arguments)
	@echo "==> tests"
	$(PYTEST) $(PYTEST_ARGS)

test-all: $(STAMP) ## run all tests, the slow ones too, on programs as users have them
	@echo "==> all tests"
	JAX_DISABLE_MOST_OPTIMIZATIONS=0 $(PYTEST) -m "" $(PYTEST_ARGS)

faults: $(STAMP) ## try to break runs; writes the table of docs/reliability.md
	@echo "==> faults"
	JAX_PLATFORMS=cpu $(RUN) -m tests.promises $(PYTEST_ARGS)

docs: $(STAMP) ## build the pages: docs/_build/index.html
	@echo "==> docs"
	JAX_PLATFORMS=cpu $(RUN) -m sphinx -W --keep-going -n -q -b html docs docs/_build
	@echo "==> done: docs/_build/index.html"

lint: $(STAMP) ## check format, style and types
	@echo "==> format"
	$(RUN) -m ruff format --check .
	@echo "==> style"
	$(RUN) -m ruff check .
	@echo "==> types"
	$(RUN) -m mypy

format: $(STAMP) ## format the code and sort its imports
	$(RUN) -m ruff check --select I --fix .
	$(RUN) -m ruff format .

# A .venv without a stamp is the rest of an interrupted install: it is made anew.
$(STAMP): pyproject.toml
	@command -v "$(PYTHON)" >/dev/null || { echo "error: Python 3.11 or newer is \
	needed, found no $(PYTHON); set PYTHON=/path/to/python3.11" >&2; exit 1; }
	@"$(PYTHON)" -c 'import sys; v = sys.version_info; sys.exit(v < (3, 11) and \
	"error: Python 3.11 or newer is needed, found %d.%d.%d; set " \
	"PYTHON=/path/to/python3.11" % v[:3])'
	@echo "==> installing into $(VENV) (about two minutes)"
	@if [ -e $@ ]; then rm $@; else "$(PYTHON)" -m venv --clear $(VENV); fi
	@$(RUN) -m pip install -qq --disable-pip-version-check --editable '.[dev,docs]'
	@touch $@
