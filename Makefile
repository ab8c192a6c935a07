# Every target sets up .venv by itself first. Paths are relative and tools run as modules, so that a
# checkout's path may hold spaces (a script in .venv/bin names its interpreter by an absolute path).

PYTHON_IN_VENV := .venv/bin/python
WORKERS ?= 2
TEXT := four nine three
OUT := speech.wav
UV := uv==0.13.9

# make exports what is given on its command line, and words go to the shell through the environment:
# pasted into a recipe, an apostrophe in the text would end the quoting.
export TEXT OUT
# Tests start many processes, which start in half the time where modules are compiled already.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help speak test quick faults bench lint format lock clean setup

help: ## list the targets
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/  make \1\t\2/p' Makefile | expand -t 16

speak: setup ## speak TEXT (four nine three) into OUT (speech.wav) with the small voice
	$(PYTHON_IN_VENV) -m compiler speak "$$TEXT" -o "$$OUT"

test: lint ## check style and types, then run every test in WORKERS (2) processes
	$(PYTHON_IN_VENV) -m pytest -n $(WORKERS) --durations=20 --durations-min=1

quick: setup ## run the short tests of graphs, passes and lowerings: a minute
	$(PYTHON_IN_VENV) -m pytest -n $(WORKERS) -m "not slow" tests/compiler tests/lowering tests/passes

faults: setup ## plant faults in copies of the tree: each must fail its test (10 minutes), into docs/faults.md
	$(PYTHON_IN_VENV) -m scripts.faults --workers $(WORKERS) --page docs/faults.md

bench: setup ## measure speed beside Hugging Face and torch.compile, into docs/benchmarks.md
	$(PYTHON_IN_VENV) -m compiler bench --pages docs

lint: setup ## check style, formatting, which way imports go, and types
	$(PYTHON_IN_VENV) -m ruff check
	$(PYTHON_IN_VENV) -m ruff format --check
	$(PYTHON_IN_VENV) -c 'from importlinter.cli import lint_imports_command as lint; lint()'
	$(PYTHON_IN_VENV) -m mypy

format: setup ## put imports in order and format every file
	$(PYTHON_IN_VENV) -m ruff check --fix --select I
	$(PYTHON_IN_VENV) -m ruff format

setup: ## make .venv or bring it up to date
	@scripts/bootstrap

# Pins stay as they are where pyproject.toml still allows them; UPGRADE=1 takes the newest of everything.
lock: ## remake requirements.lock from pyproject.toml (UPGRADE=1: newest versions)
	@set -e; \
	python=$$(scripts/bootstrap --find-python); \
	tools=$$(mktemp -d); \
	trap 'rm -rf "$$tools"' EXIT; \
	"$$python" -m venv "$$tools"; \
	"$$tools/bin/python" -m pip install --quiet --disable-pip-version-check $(UV); \
	"$$tools/bin/uv" pip compile --quiet --no-config $(if $(UPGRADE),--upgrade) \
	    --extra dev --python "$$python" --python-platform x86_64-manylinux_2_34 --only-binary :all: \
	    --generate-hashes --no-emit-index-url --custom-compile-command 'make lock' \
	    --output-file requirements.lock pyproject.toml

clean: ## delete caches and build outputs (.venv stays: delete it by hand)
	rm -rf build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find compiler lowering passes scripts tests -name __pycache__ -type d -prune -exec rm -rf {} +
