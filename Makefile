# What people call: make setup | demo | test | bench
.DEFAULT_GOAL := help
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# as installed: modules are compiled once, not at every start of every daemon (some machines forbid it by default)
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help setup peers demo test lint bench soak mutants man completions site dist deb clean

help:
	@echo "make setup   .venv with holdfast and the developers' tools"
	@echo "make demo    two hosts on this machine, one address, the master killed: see it move"
	@echo "make test    every test (as root on Debian it installs the peers it tests against)"
	@echo "make bench   side by side with keepalived"
	@echo "make site    the pages of docs/ as a site, in build/site"
	@echo "make dist    wheel and source archive in dist/"
	@echo "make deb     Debian package in dist/ (needs debhelper)"
	@echo "make soak    simulated clusters until stopped, every promise watched"

setup: $(VENV)/.stamp

$(VENV)/.stamp: pyproject.toml
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[dev,dist,docs,lvs,dbus,web]'
	@touch $@

peers:
	@sh tools/install-peers

demo: setup
	@$(BIN)/python -m holdfast.lab.demo

lint: setup
	@$(BIN)/ruff check src tests bench tools/manual
	@$(BIN)/mypy

# what fails is tried once more, alone: a machine that was busy elsewhere is no fault of ours; both runs are shown
AGAIN = { echo "*** once more, alone, what failed:"; $(BIN)/python -m pytest -ra --lf --lfnf none -m

test: setup peers lint
	@$(BIN)/python -m pytest --cache-clear -n 4 --dist worksteal -m "not alone" || $(AGAIN) "not alone"; }
	@$(BIN)/python -m pytest -m alone || $(AGAIN) alone; }

bench: setup peers
	@$(BIN)/python -m bench

soak: setup
	@$(BIN)/python -m holdfast.sim.soak

man: setup
	@$(BIN)/python -m tools.manual

completions: setup
	@$(BIN)/holdfast completion bash > packaging/completions/holdfast.bash
	@$(BIN)/holdfast completion zsh > packaging/completions/_holdfast
	@$(BIN)/holdfast completion fish > packaging/completions/holdfast.fish

site: setup
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build

dist: setup
	@$(BIN)/python -m build --no-isolation --outdir dist . >/dev/null 2>build.log || { cat build.log; exit 1; }; rm -f build.log
	@ls dist/*.whl dist/*.tar.gz

deb: dist
	@HOLDFAST_PYTHON=$(CURDIR)/$(BIN)/python sh tools/build-deb dist/holdfast-$$($(BIN)/python -c 'import holdfast; print(holdfast.__version__)').tar.gz dist

mutants: setup
	@$(BIN)/python tools/mutate --simulate

clean:
	rm -rf $(VENV) dist build .mypy_cache .ruff_cache .pytest_cache .hypothesis
