# Every target makes the environment in .venv first; nothing is installed outside of it.
.DEFAULT_GOAL := help
.PHONY: help setup check test demo up down images environments lock

PYTHON ?= $(shell for p in python3.13 python3.12 python3.11 python3 python; do \
	$$p -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null && echo $$p && break; done)
READY := .venv/.ready
COMPILE := .venv/bin/uv pip compile pyproject.toml --universal --all-extras --python-version 3.11 --quiet \
	--no-emit-index-url --custom-compile-command 'make lock'

help:  ## show this list
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/' | expand -t 14

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

# Tests wait as much as they compute: two processes, a file to each, take little more than half of the time.
TEST_PROCESSES ?= 2

test: setup  ## every test that can run on this machine
	.venv/bin/python -m pytest --numprocesses $(TEST_PROCESSES) --dist loadfile

BACKEND ?= process

demo: setup $(if $(filter docker,$(BACKEND)),images)  ## the whole main job on a simulated season; BACKEND=docker: in containers
	.venv/bin/eyewall platform demo --backend=$(BACKEND)

COMPOSE ?= $(shell docker compose version > /dev/null 2>&1 && echo docker compose || echo docker-compose)

ifeq ($(BACKEND),docker)
up: images .env
	$(COMPOSE) up -d
	@echo "Airflow: http://127.0.0.1:$${EYEWALL_AIRFLOW_PORT:-8080}, user admin, password in .env; state: $(COMPOSE) ps"

down:
	$(COMPOSE) down
else
up: setup  ## start the platform and keep it running; BACKEND=docker: in containers
	.venv/bin/eyewall platform up

down:  ## stop everything that up started; BACKEND=docker: its containers, and not its volumes
	@test ! -x .venv/bin/eyewall || .venv/bin/eyewall platform down
endif

RANDOM_HEX = $$(od -An -N24 -tx1 /dev/urandom | tr -d ' \n')

.env:
	@umask 077 && { set -e; for name in PASSWORD DATABASE_PASSWORD SESSION_KEY JWT_SECRET; do \
		echo "EYEWALL_$$name=$(RANDOM_HEX)"; done; \
		echo "EYEWALL_FERNET_KEY=$$(head -c 32 /dev/urandom | base64 | tr '+/' '-_')"; \
		echo "DOCKER_GID=$$(stat -c %g "$${DOCKER_SOCKET:-/var/run/docker.sock}")"; } > $@.tmp && mv $@.tmp $@

# The build installs packages; with the host's network it reaches what this shell reaches, also behind a VPN.
DOCKER_BUILD_FLAGS ?= --network host
IMAGES ?= ingest serve train airflow edge
VERSION = $(shell sed -n 's/^version = "\(.*\)"/\1/p' pyproject.toml)
REVISION = $(shell git rev-parse --short=12 HEAD 2>/dev/null || echo unknown)

images:  ## build the container images; GPU=1: train with CUDA, BASE=: another Python image
	for name in $(IMAGES); do docker build $(DOCKER_BUILD_FLAGS) $(if $(BASE),--build-arg BASE=$(BASE)) \
		$(if $(GPU),--build-arg GPU=$(GPU)) --build-arg VERSION=$(VERSION) --build-arg REVISION=$(REVISION) \
		--file images/$$name/Dockerfile --tag eyewall-$$name:$(VERSION) . || exit 1; done

# The table of environments is in the project's database: `make up`, or EYEWALL_DATABASE_URL. Images need a registry:
# `eyewall env registry` starts one.
environments: setup  ## build and verify the framework environments of jobs; BACKEND=docker: as images, in the registry
	.venv/bin/eyewall env build --all --backend $(BACKEND)
	.venv/bin/eyewall env verify --all --backend $(BACKEND)

lock: setup  ## recompile requirements.txt from pyproject.toml
	$(COMPILE) -o requirements.txt
