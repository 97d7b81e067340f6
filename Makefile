# Every target makes the environment in .venv first; nothing is installed outside of it.
.DEFAULT_GOAL := help
.PHONY: help setup check test demo up down lock

PYTHON ?= $(shell for p in python3.13 python3.12 python3.11 python3 python; do \
	$$p -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null && echo $$p && break; done)
READY := .venv/.ready
COMPILE := .venv/bin/uv pip compile pyproject.toml --universal --all-extras --python-version 3.11 --quiet \
	--no-emit-index-url --custom-compile-command 'make lock'

help:  ## show this list
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/' | expand -t 10

setup: $(READY)  ## make the locked environment in .venv

$(READY): requirements.txt pyproject.toml
	@test -n "$(PYTHON)" || { echo "eyewall needs Python 3.11, 3.12 or 3.13: none is on the PATH; set PYTHON=" >&2; exit 65; }
	test -x .venv/bin/python || $(PYTHON) -m venv .venv
	.venv/bin/python -m pip install --quiet --disable-pip-version-check "$$(grep -o '^uv==[0-9.]*' requirements.txt)"
	.venv/bin/uv pip install --quiet --python .venv/bin/python --no-deps -r requirements.txt
	.venv/bin/uv pip install --quiet --python .venv/bin/python --no-deps -e .
	@touch $@

check: setup  ## style, types, room rules and docstrings
	.venv/bin/ruff format --check .
	.venv/bin/ruff check .
	.venv/bin/mypy
	.venv/bin/lint-imports
	.venv/bin/interrogate --quiet eyewall operators plugins dags
	@mkdir -p var && cp requirements.txt var/lock.txt && $(COMPILE) -o var/lock.txt > /dev/null \
		&& diff requirements.txt var/lock.txt || { echo "requirements.txt is not what pyproject.toml gives: make lock" >&2; exit 1; }

test: setup  ## every test that can run on this machine
	.venv/bin/python -m pytest

demo: setup  ## the whole main job on a simulated season, in var/demo
	.venv/bin/eyewall platform demo

up: setup  ## start the platform and keep it running
	.venv/bin/eyewall platform up

down:  ## stop everything that up started
	@test ! -x .venv/bin/eyewall || .venv/bin/eyewall platform down

lock: setup  ## recompile requirements.txt from pyproject.toml
	$(COMPILE) -o requirements.txt
