# Everything runs in .venv, which the targets make themselves. PYTHON=python3.12 chooses the interpreter for it.
SHELL := bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

EXTRAS ?= demo,dev
MARKERS ?= not slow and not system
ARGS ?=
JOBS ?= 2
REPORT ?= demo/report.html
PICTURE ?= docs/images/report.png
BIN := .venv/bin
STAMP := .venv/.installed
export PYTHON
export PREFECT_SERVER_ANALYTICS_ENABLED := false
export DO_NOT_TRACK := 1

# $(call timed,NAME,COMMAND): run the command; say what the installation and the command took; keep its exit code.
define timed
@start=$$SECONDS; status=0; { $(2); } || status=$$?; \
took="install $$(cat .venv/.install-seconds) s, $(1) $$((SECONDS - start)) s"; \
echo 0 > .venv/.install-seconds; echo "make $(1): $$took"; exit $$status
endef

.PHONY: help
help: ## list the targets
	@echo "make TARGET; the first one that needs packages makes .venv (about 3 GB, 3-5 minutes)"
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  %-14s %s\n", $$1, $$2}' $(firstword $(MAKEFILE_LIST))

.PHONY: venv
venv: $(STAMP) ## make .venv with the package and the versions of constraints.txt
	@:

$(STAMP): pyproject.toml constraints.txt
	@bash .ci/venv "$(EXTRAS)"
	@touch $@

.PHONY: demo
demo: $(STAMP) ## crawl the sample site, build it, change it, build again, fit a model, write the report
	$(call timed,demo,$(BIN)/python -m flows.demo $(ARGS))

.PHONY: test
test: $(STAMP) ## run the tests in JOBS=2 processes (MARKERS='slow' chooses others, ARGS='-k name' is handed to pytest)
	$(call timed,test,$(BIN)/python -m pytest -n $(JOBS) --dist loadfile --no-loadscope-reorder -m "$(MARKERS)" $(ARGS))

.PHONY: lint
lint: $(STAMP) ## check style, format and types
	$(call timed,lint,$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/pyright)

.PHONY: format
format: $(STAMP) ## bring the code into the format that lint wants
	@$(BIN)/ruff check --fix . ; $(BIN)/ruff format .

.PHONY: schemas
schemas: $(STAMP) ## write schemas/ from the code
	@$(BIN)/diptych schemas

.PHONY: results
results: $(STAMP) ## train all models on generated documents and write docs/results.md; goes on where it ended
	$(call timed,results,$(BIN)/python -m diptych.study $(ARGS))

.PHONY: bench
bench: $(STAMP) ## run every measurement in benchmarks/
	$(call timed,bench,shopt -s nullglob; set -- benchmarks/*.py; \
		[ $$# -gt 0 ] || { echo "benchmarks/ has no measurement yet"; exit 1; }; \
		failed=0; for file in "$$@"; do echo "== $$file"; $(BIN)/python "$$file" $(ARGS) || failed=1; done; [ $$failed -eq 0 ])

.PHONY: report-picture
report-picture: $(STAMP) ## take the README's picture of a report (REPORT=report.html PICTURE=out.png; needs Chromium)
	@mkdir -p $(dir $(PICTURE))
	@$(BIN)/python -m diptych.report.screenshot $(REPORT) $(PICTURE) --width 1280 --height 900 $(ARGS)

.PHONY: constraints
constraints: $(STAMP) ## resolve every extra anew and write constraints.txt
	@$(BIN)/python .ci/constraints.py $(ARGS)

.PHONY: clean
clean: ## remove .venv and every cache (datasets and runs are kept)
	rm -rf .venv .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
