# tokencollab: `make demo` shows it, `make test` tests it, `make help` lists the rest.
# Everything works in a fresh clone with Python 3.11, pip and git. PYTHON chooses another Python.

VENV := .venv
BIN := $(VENV)/bin
PYTHON ?= $(shell command -v python3.11 || command -v python3)
PYTEST := $(BIN)/python -m pytest
# Marker expressions of the two halves of the tests; PYTEST_ARGS adds options, as in make test PYTEST_ARGS=-v
FAST ?= not real and not slow and not ray
REAL ?= real or slow or ray
PYTEST_ARGS ?=
BENCH_ARGS ?=

BASE := smollm2-135m-instruct
COLLABORATOR := gemma-3-270m
QUESTION ?= Why is the sky blue?

PIP := $(BIN)/python -m pip --disable-pip-version-check --no-input
QUIET := --quiet --progress-bar off --root-user-action ignore

.DELETE_ON_ERROR:
.PHONY: help setup demo dist picture test test-fast test-real check format bench results fuzz torture clean

help:  ## this list
	@sed -n 's/^\([a-z-]*\):.*##/\1\t/p' $(MAKEFILE_LIST) | expand -t 14

setup: $(VENV)/.ready  ## make .venv, ready to use
	@:

# One stamp per step, so that a change redoes only what follows from it.
$(VENV)/.made:
	@$(if $(PYTHON),,echo "tokencollab needs Python 3.11 or newer; none was found" >&2; exit 2)
	@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "tokencollab needs Python 3.11 or newer, $(PYTHON) is older; say make setup PYTHON=/path/to/python3.11" >&2; exit 2; }
	@echo "setup 1/4: making $(VENV)"
	@"$(PYTHON)" -m venv --clear $(VENV)
	@touch $@

$(VENV)/.torch: $(VENV)/.made requirements/torch.txt
	@echo "setup 2/4: installing torch"
	@$(PIP) install $(QUIET) -r requirements/torch.txt -c requirements/runtime.txt
	@touch $@

$(VENV)/.required: $(VENV)/.torch requirements/runtime.txt requirements/dev.txt
	@echo "setup 3/4: installing the other requirements"
	@$(PIP) install $(QUIET) -r requirements/torch.txt -r requirements/runtime.txt -r requirements/dev.txt
	@touch $@

$(VENV)/.ready: $(VENV)/.required pyproject.toml
	@echo "setup 4/4: installing tokencollab"
	@$(PIP) install $(QUIET) --no-deps --no-build-isolation -e .
	@touch $@

SUM := 24+21*30+12-28*14
WORK_OUT = @echo "$(1):"; $(BIN)/tokencollab generate "$(SUM)" $(2) 2> build/demo.log || { cat build/demo.log; exit 1; }
demo: setup  ## models answer together: two that ship with the package, then two real ones (fetched the first time)
	@mkdir -p build
	@echo "1. Two models of 1.7 MB that ship with tokencollab, and a sum that each gets wrong alone: $(SUM) = $$(($(SUM)))"
	$(call WORK_OUT,arith-pairs alone,--base arith-pairs --method base)
	$(call WORK_OUT,arith-bytes alone,--base arith-bytes --method base)
	$(call WORK_OUT,both together,--base arith-pairs --with arith-bytes)
	@echo
	@echo "2. Two real models with different tokenizers. They are tiny, and $(COLLABORATOR) is a plain-text model, which makes the answer worse than"
	@echo "   that of $(BASE) alone: this shows that the machine works, not what good models can do."
	@$(BIN)/tokencollab models pull $(BASE)
	@$(BIN)/tokencollab models pull $(COLLABORATOR)
	@echo; echo "$(BASE) alone:"; $(BIN)/tokencollab generate "$(QUESTION)" --base $(BASE) --max-tokens 64 2> build/demo.log || { cat build/demo.log; exit 1; }
	@echo; echo "with $(COLLABORATOR):"
	$(BIN)/tokencollab generate "$(QUESTION)" --base $(BASE) --with $(COLLABORATOR) --max-tokens 64 --stop "Question:" --stop "User:"

dist: setup  ## dist/: the source archive, and the wheel built from it
	@rm -rf dist *.egg-info
	@$(BIN)/python -c "from setuptools import build_meta; build_meta.build_sdist('dist')" > /dev/null
	@$(PIP) wheel --quiet --no-deps --no-build-isolation --wheel-dir dist dist/*.tar.gz
	@ls dist

picture: setup  ## an answer as docs/repl.md shows it (docs/repl.svg), from a real run
	@printf '%s\n/export docs/repl.svg\n' "$(QUESTION)" | $(BIN)/tokencollab repl --base $(BASE) --with $(COLLABORATOR) \
	  --method confipara-d --omega 16 --theta 0.4 --max-tokens 64

# Three parts run side by side: those with Ray wait much of the time. What the first two say is shown at the end.
RAY := $(patsubst %,tests/integration/test_%.py,coordinators docs_run own_aggregation platform ray ray_job)
OTHERS := tests/integration $(patsubst %,--ignore=%,$(RAY))
test: setup  ## all tests (fetches the real models the first time)
	@mkdir -p build; \
	  $(PYTEST) $(PYTEST_ARGS) tests/unit tests/property > build/units.log 2>&1 & units=$$!; \
	  $(PYTEST) $(PYTEST_ARGS) $(OTHERS) > build/others.log 2>&1 & others=$$!; \
	  $(PYTEST) $(PYTEST_ARGS) $(RAY); ray=$$?; \
	  wait $$others; others=$$?; wait $$units; units=$$?; cat build/others.log build/units.log; \
	  for code in $$units $$others $$ray; do test $$code = 0 || exit $$code; done

test-fast: setup  ## the tests that need no real model and no Ray
	@$(PYTEST) -m "$(FAST)" $(PYTEST_ARGS)

test-real: setup  ## the others
	@$(PYTEST) -m "$(REAL)" $(PYTEST_ARGS)

check: setup  ## style, types, layers
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

format: setup  ## put the style right
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

torture: setup  ## N sessions under random faults (make torture N=20000)
	@$(BIN)/python -m tests.property.actors.torture 1000 $(or $(N),20000)

bench: setup  ## measure speed: a table, and JSON beside it
	@$(BIN)/python -m benchmarks $(BENCH_ARGS)

fuzz: setup  ## N mutated frames against the decoder and the model actor, N lies in answers (make fuzz N=100000)
	@$(BIN)/python -m tests.property.actors.fuzzing $(or $(N),100000)

results: setup  ## the evaluations of docs/results.md, resumable (hours; DATA=folder of .jsonl files for the real sets)
	@PATH="$(CURDIR)/$(BIN):$$PATH" DATA="$(DATA)" OUT="$(OUT)" N="$(N)" bash benchmarks/results.sh

clean:  ## remove what was made here; models stay in the user's cache
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
