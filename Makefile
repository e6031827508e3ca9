# make demo   install what is needed and run the main experiment
# make test   the same environment plus the developer tools, all checks and tests
# make fuzz   hundreds of mutations of every file that is read, and every absurd option
# make quick  what a contributor runs before every commit: checks, and the tests that compile little
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
PIP    := $(BIN)/python -m pip install --quiet --no-compile --disable-pip-version-check -c constraints.txt

.PHONY: demo test pytest fuzz quick check package robustness benchmark tables clean

demo: $(VENV)/installed
	$(BIN)/mflows experiment polynomial-surface --models m-flow,af --jobs 2 --out runs/demo --overwrite

test: check pytest

pytest: $(VENV)/installed-dev
	$(BIN)/pytest -n 2 --dist loadfile --no-loadscope-reorder

quick: check
	$(BIN)/pytest -n 2 --dist loadfile --no-loadscope-reorder -m "not slow"

fuzz: $(VENV)/installed-dev
	MFLOWS_FUZZ=400 $(BIN)/pytest -n 2 tests/test_fuzz.py tests/cli/test_absurd.py

package:
	.ci/package $(PYTHON)

check: $(VENV)/installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyrefly check --output-format min-text --min-severity error
	$(BIN)/lint-imports

robustness: $(VENV)/installed
	$(BIN)/mflows experiment rolled-shapes --seeds 10 --jobs 2 --out runs/rolled-shapes

tables: $(VENV)/installed
	$(BIN)/mflows tables runs --out docs/results

benchmark: $(VENV)/installed
	$(PIP) -e .[benchmarks]
	$(BIN)/python benchmarks/tabular.py
	$(BIN)/python benchmarks/log_likelihood.py
	$(BIN)/python benchmarks/limits.py --quick
	$(BIN)/python benchmarks/growth.py --quick --out runs/growth.png

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/installed: pyproject.toml constraints.txt | $(VENV)/bin/python
	$(PIP) -e .
	touch $@

$(VENV)/installed-dev: pyproject.toml constraints.txt | $(VENV)/bin/python
	$(PIP) -e .[dev]
	touch $(VENV)/installed $@

clean:
	rm -rf $(VENV) runs .cache
