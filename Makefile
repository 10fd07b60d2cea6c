# The daily commands. `make demo` and `make test` set up .venv on their first call and reuse it afterwards.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
READY := $(VENV)/.installed
DEMO := demo/$(shell date +%Y-%m-%d_%H-%M-%S)

.PHONY: demo test lint format clean

demo: $(READY)
	@echo "Three losses, a run each, on a built-in phantom: synthetic scans, no patients. Then their comparison and report."
	@$(BIN)/python -m chaos_seg.study study=demo name=$(DEMO) 'hydra.sweeper.params.seed="0"'
	@$(BIN)/python -m chaos_seg.compare outputs/$(DEMO)/*_seed0/ > outputs/$(DEMO)/compare.txt
	@printf '\n%s\n\n' "DONE: three networks trained, each scored on a test patient that it never saw."
	@awk 'BEGIN {RS = ""; ORS = "\n\n"} NR <= 2' outputs/$(DEMO)/compare.txt
	@echo "All tables:   outputs/$(DEMO)/compare.txt"
	@$(BIN)/python -m chaos_seg.report outputs/$(DEMO)
	@echo "Its curves:   $(BIN)/tensorboard --logdir outputs/$(DEMO)"
	@echo "Its masks:    $(BIN)/python -m chaos_seg.predict ckpt=outputs/$(DEMO)/iou_seed0/checkpoints/best.ckpt" \
	  "input=$$(ls -d outputs/store/phantoms/*128px_seed0) output=outputs/$(DEMO)_masks"
	@echo "On patients:  $(BIN)/python -m chaos_seg.prepare data.root=CHAOS"
	@echo "              $(BIN)/python -m chaos_seg.train experiment=best_cpu data.root=CHAOS"

test: $(READY)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist worksteal

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
