# Python 3.11+, pip and make are all a machine needs; the first run makes .venv, later ones start at once.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: serve test style types audit bench mutants ray clean

serve: .venv/.ready
	$(BIN)/depthlive serve $(if $(HOST),--host $(HOST)) $(if $(PORT),--port $(PORT)) $(ARGS)

# Without bytecode, each of the servers that tests start compiles the sources again.
test: export PYTHONDONTWRITEBYTECODE :=
test: .venv/.ready-dev
ifdef ARGS
	$(BIN)/python -m pytest $(ARGS)
else
	$(BIN)/python -m pytest -n auto --dist loadfile --no-loadscope-reorder
endif

style: .venv/.ready-dev
	$(BIN)/ruff check . && $(BIN)/ruff format --check .

types: .venv/.ready-dev
	$(BIN)/pyright
	$(BIN)/python scripts/page_types.py

# Known faults of what is installed, as REPORT says in JSON, too.
audit: .venv/.ready-dev
	$(BIN)/pip-audit --skip-editable --progress-spinner off $(if $(REPORT),--format json --output $(REPORT))

bench: .venv/.ready-dev
	$(BIN)/python -m scripts.bench.latency $(ARGS)

# For the tests of a cluster, which are skipped without it.
ray: .venv/.ready-dev
	$(BIN)/pip install --quiet --editable '.[dev,ray]'

# Not in CI: which one-line faults of a file does no test see?  make mutants ARGS=server/session/chunk_assembler.py
mutants: .venv/.ready-dev
	$(BIN)/python scripts/mutants.py $(ARGS)

# What another Python left, one too old or gone since, is made anew.
IS_USABLE = -c 'import sys; sys.exit(sys.version_info < (3, 11))'
ifneq ($(shell $(BIN)/python $(IS_USABLE) 2>/dev/null && echo yes),yes)
.PHONY: .venv/.ready .venv/.ready-dev
endif

.venv/.ready: pyproject.toml
	@$(PYTHON) $(IS_USABLE) || { echo "$(PYTHON) is too old or missing: expected Python 3.11 or newer, as in make PYTHON=python3.12" >&2; exit 1; }
	$(BIN)/python $(IS_USABLE) 2>/dev/null || $(PYTHON) -m venv --clear .venv
	$(BIN)/pip install --quiet --editable .
	touch $@

.venv/.ready-dev: pyproject.toml | .venv/.ready
	$(BIN)/pip install --quiet --editable '.[dev]'
	touch $@

clean:
	rm -rf .venv
