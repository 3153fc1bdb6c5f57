PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/.installed

.PHONY: setup demo test test-slow test-browser test-lowest test-newest audit release-check fuzz mutation check lint types contracts docs bench calibrate backtests learn clean

# Specs that `make calibrate` calibrates, and by how many simulations each.
SPECS ?= $(notdir $(basename $(wildcard models/*.toml)))
SIMULATIONS ?= 200

# Models whose forecasts carry what backtests measured; `make backtests RECORDS=default` makes one record.
RECORDS ?= additive-unpooled default

setup: $(STAMP)

$(STAMP): pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(f"bayescale needs Python 3.12 or newer, this is {sys.version.split()[0]}: install it, or run make PYTHON=/path/to/python3.12" if sys.version_info < (3, 12) else 0)'
	test -d .venv || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	touch $(STAMP)

demo: setup
	mkdir -p demo
	$(BIN)/bayescale fit hoffmann2022 --model additive --out demo/fit.nc --seed 0
	$(BIN)/bayescale forecast demo/fit.nc --params 70B --tokens 1.4T
	$(BIN)/bayescale decide allocation demo/fit.nc --flops 5.76e23
	$(BIN)/bayescale plot demo/fit.nc --out demo

# Programs of tests run for a moment: without costlier optimisations by XLA, tests take a fifth to a third less CPU time.
test test-browser: export XLA_FLAGS := --xla_backend_optimization_level=1
test: setup
	$(BIN)/python -m pytest

test-slow: setup
	$(BIN)/python -m pytest -m slow

# The pages of reports in Chromium; skipped where there is none.
test-browser: setup
	$(BIN)/python -m pytest -m browser tests/reporting/test_browser.py

# Malformed tables, specs, fits, records and frames, killed processes and full disks; make fuzz SEED=1 KINDS=fits CASES=50
SEED ?= 0
fuzz: setup
	$(BIN)/python tests/fuzz/run.py $(KINDS) --seed $(SEED) $(if $(CASES),--cases $(CASES))

# Share of the changes to the code of a module that its tests find; make mutation MODULES=bayescale/evaluation/scores.py SAMPLE=200
mutation: setup
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[mutation]'
	$(BIN)/python tests/mutation/mutate.py $(MODULES) $(if $(SAMPLE),--sample $(SAMPLE))

release-tools: setup
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[release]'

# The tests under the lowest versions that pyproject.toml allows, and under the newest; make test-newest PYTHONS=3.13
TESTS ?= tests bayescale
test-lowest: RESOLUTION := lowest-direct
test-newest: RESOLUTION := highest
test-lowest test-newest: release-tools
	$(BIN)/uv venv --quiet --clear --python $(or $(PYTHONS),$(BIN)/python) .venv-$@
	$(BIN)/uv pip install --quiet --python .venv-$@/bin/python --resolution $(RESOLUTION) --editable '.[dev]'
	.venv-$@/bin/python -m pytest $(TESTS)

# Known vulnerabilities of what is installed for users, without the tools of development.
audit: release-tools
	$(BIN)/uv venv --quiet --clear --python $(BIN)/python .venv-audit
	$(BIN)/uv pip install --quiet --python .venv-audit/bin/python .
	$(BIN)/uv pip freeze --python .venv-audit/bin/python --exclude-editable | grep -v '^bayescale' > .venv-audit/requirements.txt
	$(BIN)/pip-audit --strict --no-deps --disable-pip --requirement .venv-audit/requirements.txt

# Wheel, sdist and SBOM in dist/, each tried in a bare environment; make release-check PYTHONS="python3.12 python3.13"
release-check: release-tools
	$(BIN)/python tests/release/check.py $(if $(PYTHONS),--python $(PYTHONS))

bench: setup
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[bench]'
	$(BIN)/python benchmarks/run.py
	$(BIN)/python benchmarks/growth.py

# The default spec, and what each family said. Its records are stale then: make calibrate, make backtests.
learn: setup
	$(BIN)/bayescale learn open-families --model shared-unpooled --keep --out models/default.toml \
	  --title "The coupled law, pooled within suites, with errors shared by near runs and larger errors beyond the runs"

# Every spec, though one fails. Fits are kept until their spec is through: after an interrupt they are not made again.
calibrate: setup
	mkdir -p models/calibration
	failed=; for spec in $(SPECS); do \
	  case $$spec in eci|observational|sloth) runs="--runs obsscaling";; *) runs=;; esac; \
	  $(BIN)/bayescale calibrate $$spec $$runs --simulations $(SIMULATIONS) --seed 0 --folder .calibration/$$spec \
	    --out models/calibration/$$spec.toml && rm -r .calibration/$$spec || failed="$$failed $$spec"; \
	done; test -z "$$failed" || { echo "not calibrated:$$failed"; exit 1; }

# Exit code 1 says that a fit has not converged: the record names it.
backtests: setup
	for model in $(RECORDS); do $(BIN)/bayescale backtest open-families --model $$model --way expanding --keep || [ $$? -eq 1 ] || exit; done

check: lint contracts types

# The site, without the network; the reference is made from the catalogue and the docstrings.
docs: setup
	rm -rf docs/reference/api
	$(BIN)/python -m sphinx --fail-on-warning --keep-going --quiet --builder html docs docs/_build/html
	@echo "open docs/_build/html/index.html"

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

contracts: setup
	$(BIN)/lint-imports

types: setup
	$(BIN)/mypy

clean:
	rm -rf .venv .venv-* dist demo .calibration docs/_build docs/reference/api
