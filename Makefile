# The two commands are `make demo` and `make test`. Every target builds .venv first when it is missing;
# PYTHON=/path/to/python3.13 names the interpreter to build it from.

BIN := .venv/bin
# Exact, tested versions, for what is installed and for what builds it.
PIP := PIP_CONSTRAINT=.ci/constraints.txt PIP_BUILD_CONSTRAINT=.ci/constraints.txt PIP_DISABLE_PIP_VERSION_CHECK=1 \
       $(BIN)/python -m pip install --quiet --quiet --no-input
PINS := pyproject.toml .ci/constraints.txt
INSTALLED := .venv/installed
# Two processes, a file of tests to one of them: what its fixtures compile and sample is made once.
PYTEST := $(BIN)/python -m pytest -q -n 2 --dist loadfile
NOTEBOOKS := $(wildcard notebooks/*.ipynb)

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help install demo test test-all check format lint types imports docstrings spelling notebooks docs bench sbc clean

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

install: $(INSTALLED) ## Build .venv with bayesgmm and everything that developing it needs

demo: $(INSTALLED) ## Compare EM with the posterior on Old Faithful; writes a report and the fit to demo/
	@$(BIN)/bayesgmm compare faithful -k 2 --out demo

test: $(INSTALLED) ## Run the fast suite
	@$(PYTEST) $(ARGS)

test-all: $(INSTALLED) ## Run the whole suite, the slow tests included
	@$(PYTEST) -m '' $(ARGS)

check: format lint types imports docstrings spelling ## Check format, lint, types, layers, docstrings and spelling

format: $(INSTALLED)
	@echo '> ruff format'
	@$(BIN)/ruff format --check --quiet --diff .

lint: $(INSTALLED)
	@echo '> ruff check'
	@$(BIN)/ruff check .

types: $(INSTALLED)
	@echo '> mypy'
	@$(BIN)/mypy

imports: $(INSTALLED)
	@echo '> import-linter'
	@PYTHONPATH=. $(BIN)/lint-imports --no-logo

docstrings: $(INSTALLED)
	@echo '> numpydoc'
	@find bayesgmm -name '*.py' -print0 | xargs -0 $(BIN)/numpydoc lint

spelling: $(INSTALLED)
	@echo '> codespell'
	@$(BIN)/codespell

notebooks: $(INSTALLED) ## Execute every notebook, leaving the files as they are
	@test -n '$(NOTEBOOKS)' || { echo 'notebooks/ holds no notebook to execute' >&2; exit 1; }
	@printf '%s\n' $(NOTEBOOKS) | xargs -n 1 -P 2 $(BIN)/jupyter-execute --timeout=600

docs: .venv/installed-docs ## Build the site into docs/_build/html; a warning is an error
	@$(BIN)/python -m sphinx --builder html --fail-on-warning --keep-going --quiet docs docs/_build/html
	@echo 'docs/_build/html/index.html'

bench: .venv/installed-bench ## Measure against the peers that are installed
	@test -d benchmarks || { echo 'benchmarks/ holds nothing to run' >&2; exit 1; }
	@$(BIN)/python -m benchmarks $(ARGS)

sbc: $(INSTALLED) ## Calibrate the engines of the posterior on simulated data, within half an hour
	@$(BIN)/python -m benchmarks.sbc $(ARGS)

clean: ## Remove what the targets wrote, .venv included
	@rm -rf .venv .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache build dist demo docs/_build \
		docs/api docs/notebooks
	@find bayesgmm tests docs -name __pycache__ -type d -prune -exec rm -rf {} +

.venv/bin/python:
	@.ci/make-venv

$(INSTALLED): $(PINS) | .venv/bin/python
	@echo 'Installing bayesgmm into .venv (a minute or so)'
	@$(PIP) --editable '.[dev]' && touch $@

.venv/installed-%: $(INSTALLED)
	@echo 'Adding what $* needs'
	@$(PIP) --editable '.[$*]' && touch $@
