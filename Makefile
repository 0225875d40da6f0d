# One line a target; README.md says the same. Everything happens in .venv, nothing needs root.
PYTHON ?= python3.11
BIN := .venv/bin
PYTEST := $(BIN)/python -m pytest

.PHONY: demo test check bench battery soak hub sbom audit docs lock bases clean

demo: .venv/ready          ## the main job, phantoms to reports, at most 4 minutes (FULL=1: the seed's own scale)
	$(BIN)/ailab demo $(if $(FULL),--full)

test: .venv/ready          ## every test that this machine can run (SLOW=1: the slow ones too; JOBS=2: two at a time)
	$(PYTEST) $(if $(SLOW),,-m "not slow") $(if $(JOBS),-n $(JOBS) --dist loadfile)

check: .venv/ready         ## ruff, types, import floors, clean notebooks
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python tests/clean_notebooks.py

bench: .venv/ready         ## ours beside the best peer, as ratios
	for file in benchmarks/*.py; do $(BIN)/python -m benchmarks.$$(basename $$file .py) || exit 1; done

battery: .venv/ready       ## the long batteries at full count
	AILAB_BATTERY=full $(PYTEST) -m battery

soak: .venv/ready          ## an hour of routed studies with a fault a minute: nothing lost, memory flat
	$(BIN)/python -m benchmarks.hospital --minutes 60

hub: .venv/ready .venv/hub-ready    ## JupyterHub on 127.0.0.1: prints its address and the first login
	$(BIN)/ailab hub start

sbom: .venv/ready          ## build/sbom.cdx.json: what this is made of (CycloneDX)
	$(BIN)/python -m tests.supply_chain sbom

audit: sbom                ## known vulnerabilities of the lock; fails plainly where no database can be reached
	$(BIN)/python -m tests.supply_chain audit

docs: .venv/ready          ## write docs/cli.md and docs/settings.md from the program itself
	$(BIN)/python -m ailab_kernel.cli.reference docs

lock:                      ## resolve the newest versions into requirements.lock (needs a fresh .venv)
	$(PYTHON) -m venv .venv
	$(BIN)/pip install -e '.[hub,dimse,postgres,slurm,dev]'
	$(BIN)/pip freeze --exclude-editable | sed 's/+cpu$$//' > requirements.lock

bases: .venv/ready         ## train every model that we ship again from its seeds
	for name in heart-wall lungs; do $(BIN)/python -m ailab_kernel.training.base $$name || exit 1; done
	for name in guided lesions classify; do $(BIN)/python -m ailab_kernel.training.$$name || exit 1; done

clean:                     ## forget the environment and the demo's lab
	rm -rf .venv build lab

.venv/hub-ready: hub_config/node/package-lock.json .venv/ready
	$(BIN)/python -m hub_config.proxy
	touch $@

.venv/widget-ready: extensions/annotate/package-lock.json .venv/ready
	$(BIN)/python -m extensions.annotate.build install
	touch $@

.venv/itk-ready: extensions/itk_viewer/build.py .venv/ready
	$(BIN)/python -m extensions.itk_viewer.build
	touch $@

.venv/provider-ready: tests/hub/provider/package-lock.json .venv/ready
	$(BIN)/python -m tests.hub.providers
	touch $@

.venv/ready: requirements.lock pyproject.toml
	$(PYTHON) -c 'import sys; assert sys.version_info[:2] == (3, 11), "AI-LAB needs Python 3.11"'
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check -r requirements.lock
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps -e .
	touch $@
