# `make help` lists what there is. Everything lives in .venv, .cache and var, all below this folder.

PORT ?= 8000
PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)
BIN := .venv/bin
MANAGE := HTTPS=false PUBLIC_URL=http://127.0.0.1:$(PORT) $(BIN)/python manage.py
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet install

.DEFAULT_GOAL := help
.PHONY: help run demo-reset test test-hard test-slurm bench messages pictures lint format clean

help:  ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

run: .venv/for-run  ## serve the portal with its demo and its worker on 127.0.0.1, PORT=8000
	@$(BIN)/python -c "import socket; s = socket.socket(); s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1); s.bind(('127.0.0.1', $(PORT)))" 2>/dev/null \
		|| { echo "Port $(PORT) is taken by another program; choose another one: make run PORT=$$(($(PORT) + 1))"; exit 1; }
	@mkdir -p var/static
	@$(MANAGE) migrate --verbosity 0
	@$(MANAGE) load_demo
	@echo "The portal is at http://127.0.0.1:$(PORT)/ (Ctrl-C stops it)"
	@HTTPS=false PUBLIC_URL=http://127.0.0.1:$(PORT) exec $(BIN)/python deploy/serve.py $(BIN)/gunicorn centre.wsgi \
		--bind 127.0.0.1:$(PORT) --workers 2 --threads 4 --preload --log-level warning

demo-reset: .venv/for-run  ## forget the demo's database in var/ and load a fresh one
	@if [ -z "$$DATABASE_URL" ] && ! grep -qs '^ *DATABASE_URL' .env; then rm -f var/portal.sqlite3 var/portal.sqlite3-*; \
	elif [ "$(FORCE)" = 1 ]; then $(MANAGE) shell --no-imports --command \
		"from django.db import connection as c; c.cursor().execute('DROP SCHEMA public CASCADE; CREATE SCHEMA public')"; \
	else echo "DATABASE_URL names a database that may not be the demo's; FORCE=1 empties it all the same."; exit 1; fi
	@$(MANAGE) migrate --verbosity 0
	@$(MANAGE) load_demo

test: .venv/for-tests  ## every check and every test; the last line counts them
	@$(BIN)/python -m tests.everything

test-hard: .venv/for-tests  ## the long versions; the result goes to docs/test-hard.md
	@$(BIN)/python -m tests.everything --hard

test-slurm: .venv/for-tests  ## compare with a real Slurm that it brings up (as root); the result goes to docs/test-slurm.md
	@$(BIN)/python -m tests.slurm

bench: .venv/for-tests  ## measure how fast it is, beside what could be had at best; writes docs/benchmarks.md
	@$(BIN)/python -m tests.benchmarks

messages: .venv/for-tests  ## bring the Chinese catalogues up to date and compile them
	@$(BIN)/python -m tests.catalogues update

pictures: .venv/for-tests  ## take the README's pictures anew, from a fresh demo
	@$(BIN)/python -m tests.pictures

lint: .venv/for-tests  ## the static checks alone
	@$(BIN)/python -m tests.everything static

format: .venv/for-tests  ## put code and templates into the house form
	@$(BIN)/ruff check --fix-only --quiet . ; $(BIN)/ruff format --quiet .
	@find templates centre allocations subsidies -name '*.html' -exec $(BIN)/djade --target-version 5.2 {} + || true  # 1 when it changed something

clean:  ## remove what can be made again (.venv, .cache); the database in var/ stays
	rm -rf .venv .cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

.venv/bin/python:
	@test -n "$(PYTHON)" || { echo "Python 3.11 or newer is needed; this machine has: $$(python3 --version 2>&1)."; exit 1; }
	@$(PYTHON) -m venv .venv || { rm -rf .venv; \
		echo "$(PYTHON) cannot make a virtual environment; on Debian and Ubuntu: apt-get install python3-venv"; exit 1; }

.venv/for-run: requirements.txt | .venv/bin/python
	@echo "Installing what the portal needs (once) ..."
	@$(PIP) -r requirements.txt
	@touch $@

.venv/for-tests: requirements-dev.txt .venv/for-run
	@echo "Installing what the tests need (once) ..."
	@$(PIP) -r requirements-dev.txt
	@touch $@
