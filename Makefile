# make demo   a real search on the built-in digits, a few minutes
# make test   the whole test suite
# make check  lint, format and types
PYTHON ?= python3
BIN := .venv/bin
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt

.PHONY: demo test check bench-quick clean

demo: .venv/run-time
	$(BIN)/policysearch search digits --train-size 100 --verdict-seeds 10

test: .venv/development
	$(BIN)/python -m pytest

check: .venv/development
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench-quick: .venv/development
	$(BIN)/python benchmarks/bench_end_to_end.py digits --quick
	$(BIN)/python benchmarks/bench_overhead.py --quick

.venv/run-time: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || \
	  { echo "policysearch needs Python 3.10 or newer; name one with: make PYTHON=python3.12"; exit 1; }
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(INSTALL) -e .
	@touch $@

.venv/development: .venv/run-time
	$(INSTALL) -e '.[dev]'
	@touch $@

clean:
	rm -rf .venv build dist
