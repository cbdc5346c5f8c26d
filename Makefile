# What this project runs on is installed by this file; nothing has to be there but Python and make.

PYTHON ?= python3
VENV ?= .venv
RUN := $(VENV)/bin/python
PORT ?= 8000

.DEFAULT_GOAL := help
.PHONY: help demo test test-fast check format lock chromium clean

help:  ## This list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 14

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.run: requirements/base.txt | $(VENV)/bin/python
	$(RUN) -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/base.txt
	touch $@

$(VENV)/.dev: requirements/dev.txt | $(VENV)/bin/python
	$(RUN) -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/dev.txt
	touch $@ $(VENV)/.run

demo: $(VENV)/.run  ## Install, start, fill and serve a believable world (PORT=8000)
	@$(RUN) manage.py demo --port $(PORT)

test: $(VENV)/.dev chromium  ## Run every test, browser tests included
	$(RUN) -m pytest -n 2 -m "not alone and not browser"
	$(RUN) -m pytest -m "alone or browser"

test-fast: $(VENV)/.dev  ## The tests that take under a minute together
	$(RUN) -m pytest -q -n auto -m "not slow and not alone and not browser"

check: $(VENV)/.dev  ## Style, layers, migrations, templates, translations, OpenAPI
	$(RUN) -m ruff check .
	$(RUN) -m ruff format --check .
	$(VENV)/bin/lint-imports
	$(RUN) manage.py check --fail-level WARNING
	$(RUN) manage.py makemigrations --check --dry-run
	$(VENV)/bin/djlint templates --lint --quiet
	$(RUN) manage.py check_translations
	$(RUN) manage.py spectacular --validate --fail-on-warn --file /dev/null
	$(RUN) manage.py vendor_assets

format: $(VENV)/.dev  ## Format the Python code
	$(RUN) -m ruff check --fix .
	$(RUN) -m ruff format .

lock: $(VENV)/.dev  ## Resolve the requirements anew
	$(RUN) -m uv pip compile --quiet --upgrade --generate-hashes --no-emit-index-url --no-header --python-version 3.11 pyproject.toml --output-file requirements/base.txt
	$(RUN) -m uv pip compile --quiet --upgrade --generate-hashes --no-emit-index-url --no-header --python-version 3.11 pyproject.toml --group dev --output-file requirements/dev.txt

# Debian's Chromium, where none is found and this user may install it.
# And what shows gateways' messages and collects texts for translation.
chromium:
	@command -v chromium >/dev/null || command -v chromium-browser >/dev/null || command -v google-chrome >/dev/null || \
	if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
		apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends chromium mosquitto-clients gettext >/dev/null; \
	else \
		echo "No Chromium here, and this user may not install it: the browser tests will be skipped."; \
	fi

clean:  ## Remove what was installed and stored; the demo's data too
	rm -rf $(VENV) .gridx .gridx-test .ruff_cache .pytest_cache .hypothesis
