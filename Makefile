# The commands people use; `make help` lists them. Each target installs what it needs, once.

# --- what a caller may set -----------------------------------------------------------------
HPO_STUDY   ?= studies/quickstart.toml
HPO_TRIALS  ?= 20
HPO_DATA    ?=
HPO_WORKERS ?=
HPO_OUT     ?= best.toml
HPO_PORT    ?= 8080
VENV        ?= .venv
PYTHON      ?= python3.13 python3.12 python3.11 python3
TEST_ARGS   ?=
BENCH_ARGS  ?=

# Threads of numeric libraries in tests: results do not depend on the machine, workers do not fight.
TEST_THREADS = OMP_NUM_THREADS=1 MKL_NUM_THREADS=1 POLARS_MAX_THREADS=1
PYTEST       = $(TEST_THREADS) $(VENV)/bin/pytest -q -n auto --maxprocesses 4
ATFT_HPO     = exec $(VENV)/bin/atft-hpo

.DEFAULT_GOAL := help
.PHONY: help setup check test test-slow bench clean image-test \
        hpo-run hpo-resume hpo-status hpo-export hpo-stop hpo-dashboard hpo-report

help: ## this list
	@echo "make <target> [NAME=value ...]"; echo
	@sed -n 's/^\([a-z-]*\):[^#]*## \(.*\)/  \1|\2/p' Makefile \
	  | while IFS='|' read -r target text; do printf '%-16s%s\n' "$$target" "$$text"; done
	@echo; echo "values (default):"
	@echo "  HPO_STUDY=$(HPO_STUDY)  HPO_TRIALS=$(HPO_TRIALS)  HPO_DATA=<daily OHLCV: file or directory>"
	@echo "  HPO_WORKERS=<what the machine carries>  HPO_OUT=$(HPO_OUT)  HPO_PORT=$(HPO_PORT)"
	@echo "  ATFT_HPO_VOLUME=./volume  ATFT_HPO_STORAGE=<embedded Postgres in the volume>"

# --- searching -----------------------------------------------------------------------------
hpo-run: $(VENV)/.runtime ## search until the study holds HPO_TRIALS trials (Ctrl-C stops, again continues)
	@$(ATFT_HPO) run "$(HPO_STUDY)" --trials $(HPO_TRIALS) \
	  $(if $(HPO_DATA),--data "$(HPO_DATA)") $(if $(HPO_WORKERS),--workers $(HPO_WORKERS))

hpo-resume: $(VENV)/.runtime ## continue a study to the total it was last asked for
	@$(ATFT_HPO) resume "$(HPO_STUDY)" $(if $(HPO_WORKERS),--workers $(HPO_WORKERS))

hpo-status: $(VENV)/.runtime ## trials by outcome, running trials, best value
	@$(ATFT_HPO) status "$(HPO_STUDY)"

hpo-export: $(VENV)/.runtime ## write the best trial's complete configuration to HPO_OUT
	@$(ATFT_HPO) export "$(HPO_STUDY)" --out "$(HPO_OUT)"

hpo-stop: $(VENV)/.runtime ## let running trials save their state, then stop every agent of the study
	@$(ATFT_HPO) stop "$(HPO_STUDY)"

hpo-dashboard: $(VENV)/.runtime ## optuna-dashboard on 127.0.0.1:HPO_PORT
	@$(ATFT_HPO) dashboard --port $(HPO_PORT)

hpo-report: $(VENV)/.runtime ## one self-contained HTML report of the study
	@$(ATFT_HPO) report "$(HPO_STUDY)"

# --- developing ----------------------------------------------------------------------------
setup: $(VENV)/.dev ## virtual environment with everything, pinned

check: $(VENV)/.dev ## lint, format, types, import contracts
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy
	$(VENV)/bin/lint-imports

test: $(VENV)/.dev ## tests, without the slow ones and those that need a GPU
	@$(PYTEST) -m "not slow and not gpu" $(TEST_ARGS)

test-slow: $(VENV)/.dev ## the slow tests alone
	@$(PYTEST) -m "slow and not gpu" $(TEST_ARGS)

bench: $(VENV)/.dev ## speed and memory without a GPU, 15 minutes at most: bench/results/cpu/table.md, plots
	@$(VENV)/bin/python -m bench.suite $(BENCH_ARGS)

image-test: $(VENV)/.runtime ## build the container image with buildah, run a 2-trial study in it (root)
	@$(VENV)/bin/python docker/image_test.py

clean: ## remove the virtual environment and caches; the volume stays
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache

# --- installing ----------------------------------------------------------------------------
# A stamp is younger than what it was installed from, so nothing is installed twice.
$(VENV)/.runtime: pyproject.toml constraints.txt
	$(call install,.)
	@touch $@

$(VENV)/.dev: pyproject.toml constraints.txt
	$(call install,.[dev])
	@touch $(VENV)/.runtime $@

# The first of PYTHON that runs, is new enough and can make an environment: a name on the path may
# be a stub, and Debian's python3 comes without ensurepip.
define install
@$(VENV)/bin/python -m pip --version >/dev/null 2>&1 || { \
  for python in $(PYTHON) none; do \
    "$$python" -c 'import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 11))' \
      >/dev/null 2>&1 && break; done; \
  [ "$$python" != none ] || { \
    echo "error: no Python 3.11 or newer with venv and ensurepip among: $(PYTHON);" \
      "install one (Debian, Ubuntu: apt install python3 python3-venv)" \
      "or name it: make $(MAKECMDGOALS) PYTHON=/path/to/python3.11" >&2; exit 1; }; \
  echo "making $(VENV) with $$python, $$("$$python" --version)"; \
  "$$python" -m venv $(if $(wildcard $(VENV)/pyvenv.cfg),--clear) "$(VENV)"; }
@echo "installing pinned dependencies into $(VENV) (minutes the first time)"
@$(VENV)/bin/python -m pip install --disable-pip-version-check -c constraints.txt -e '$(1)'
endef
