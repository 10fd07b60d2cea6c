# The daily commands. `make demo` and `make test` set up .venv on their first call and reuse it afterwards.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
READY := $(VENV)/.installed
DEMO := outputs/demo/$(shell date +%Y-%m-%d_%H-%M-%S)

.PHONY: demo test lint format clean

demo: $(READY)
	$(BIN)/python -m chaos_seg.train --multirun experiment=demo loss=bce,dice,iou hydra.sweep.dir=$(DEMO)
	$(BIN)/python -m chaos_seg.compare $(DEMO)/*/
	@echo
	@echo "Figures:      $(DEMO)/*/figures/"
	@echo "Look further: $(BIN)/tensorboard --logdir $(DEMO)"

test: $(READY)
	$(BIN)/python -m pytest

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(READY)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf $(VENV) .hypothesis .pytest_cache .mypy_cache .ruff_cache

$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "chaos_seg needs Python 3.11 or newer, found $$($(PYTHON) --version); name one with: make PYTHON=python3.12"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable ".[dev]"
	@touch $@
