# make demo   a real search on the built-in digits, a few minutes
# make test   the test suite, but for clusters
# make test-cluster  Ray on real local clusters, some minutes
# make check  lint, format and types
# make test-interop  pixels beside torchvision, timm, kornia and albumentations, in an
#                    environment of its own (6 GB)
PYTHON ?= python3
BIN := .venv/bin
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt

.PHONY: demo test test-cluster test-interop check bench-quick bench-transform-quick clean

demo: .venv/run-time
	$(BIN)/policysearch search digits --train-size 100 --verdict-seeds 10

test: .venv/development
	$(BIN)/python -m pytest -n 3 --dist loadfile --no-loadscope-reorder --ignore=tests/cluster

test-cluster: .venv/development
	$(BIN)/python -m pytest tests/cluster

test-interop: .venv-interop/ready
	.venv-interop/bin/python -m pytest -n 2 tests/interop

check: .venv/development
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench-quick: .venv/development
	$(BIN)/python benchmarks/bench_search.py digits-100 --quick
	$(BIN)/python benchmarks/bench_overhead.py --quick

bench-transform-quick: .venv-interop/ready
	.venv-interop/bin/python benchmarks/bench_transform.py --quick

.venv/run-time: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || \
	  { echo "policysearch needs Python 3.10 or newer; name one with: make PYTHON=python3.12"; exit 1; }
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(INSTALL) -e .
	@touch $@

.venv/development: .venv/run-time
	$(INSTALL) -e '.[dev]'
	@touch $@

# The versions of .venv, but for torch: no torchvision imports with its CPU build. Not compiled:
# most of its 6 GB is never imported.
.venv-interop/ready: interop-requirements.txt pyproject.toml constraints.txt
	test -x .venv-interop/bin/python || $(PYTHON) -m venv .venv-interop
	grep -v '^torch==' constraints.txt > .venv-interop/constraints.txt
	.venv-interop/bin/python -m pip install --quiet --disable-pip-version-check --no-compile \
	  -c .venv-interop/constraints.txt -r interop-requirements.txt -e .
	@touch $@

clean:
	rm -rf .venv .venv-interop build dist
