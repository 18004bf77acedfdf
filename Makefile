# Two commands do it all: `make demo` and `make test`. Both set up .venv first, from constraints.txt.
PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin
READY = $(VENV)/.ready
# One thread per worker: two workers of two threads each would fight for two cores.
TEST = DLFRAME_STRICT_PLUGINS=1 OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist worksteal

.PHONY: setup demo test lint slow clean

setup: $(READY)

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	touch $@

demo: $(READY)
	$(BIN)/dlframe train trainer.progress=on trainer.max_epochs=30

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/mypy plugins/dlframe-example/src
	$(BIN)/lint-imports --no-cache

test: lint
	$(TEST)

slow: $(READY)
	$(TEST) -m 'slow or not slow'

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache
