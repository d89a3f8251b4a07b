# One command each. They make the environment they need in .venv.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
OPPER_SDKS := opperai-1.7.2 opperai-2.1.1
ORQ_SDKS := orq-ai-sdk-4.1.3 orq-ai-sdk-4.17.13

.PHONY: demo test test-cuts test-node test-browser soak opper-sdks orq-sdks lint types check bench clean

# Serve, cut a reader, resume it, kill the server, read on.
demo: $(VENV)/.serving
	$(BIN)/penstock demo $(ARGS)

# Every test that needs Python alone.
test: $(VENV)/.developing opper-sdks orq-sdks
	$(BIN)/pytest -m "not node and not browser and not cuts" $(ARGS)

# Our client, and SDKs with our transport, through hundreds of cuts in each dialect; takes minutes.
test-cuts: $(VENV)/.developing opper-sdks orq-sdks
	$(BIN)/pytest -m "cuts and not node" $(ARGS)

# The JavaScript clients against the server; needs node and npm.
test-node: $(VENV)/.developing tests/interop/node/node_modules
	$(BIN)/pytest -m node $(ARGS)

# A page in a headless browser; needs Debian's chromium and chromium-driver.
test-browser: $(VENV)/.developing
	$(BIN)/pytest -m browser $(ARGS)

# Two releases of one module each, which cannot share an environment.
opper-sdks: $(OPPER_SDKS:%=$(VENV)/%/.installed)
orq-sdks: $(ORQ_SDKS:%=$(VENV)/%/.installed)

lint: $(VENV)/.developing
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/.developing
	$(BIN)/mypy

check: lint types test

# Sessions under load for a minute, their readers cut at random; exits with 1 if anything is lost or repeated.
soak: $(VENV)/.developing
	PYTHONPATH=tests $(BIN)/python -m faults.soak $(ARGS)

# Penstock beside a direct connection and nginx; needs gcc and nginx.
bench: $(VENV)/.benching
	$(BIN)/python -m bench $(ARGS)

clean:
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis bench/out tests/interop/node/node_modules

$(VENV)/bin/python:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Penstock needs Python 3.11 or newer: make PYTHON=python3.11")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip

$(VENV)/.serving: pyproject.toml | $(VENV)/bin/python
	$(BIN)/pip install --quiet --editable ".[server,fast]"
	touch $@

$(VENV)/.developing: pyproject.toml | $(VENV)/bin/python
	$(BIN)/pip install --quiet --editable ".[server,fast,test,lint]"
	touch $@ $(VENV)/.serving

$(VENV)/.benching: $(VENV)/.developing
	$(BIN)/pip install --quiet --editable ".[bench]"
	touch $@

# Where only a release is installed, by the name of its folder: NAME-VERSION.
$(VENV)/%/.installed: | $(VENV)/bin/python
	$(BIN)/python -m venv --clear --without-pip $(@D)
	release=$*; $(BIN)/pip --python $(@D)/bin/python install --quiet "$${release%-*}==$${release##*-}"
	touch $@

tests/interop/node/node_modules: tests/interop/node/package.json
	cd tests/interop/node && npm install --no-package-lock --no-audit --no-fund --silent
	touch $@
