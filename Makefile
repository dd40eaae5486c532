# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# A thin layer over Ansible and pytest: it sets up what they need, and runs them. `make help` lists the targets.

TEMPLATE ?= image-templates/debian12-x86_64-minimal-raw.yml
OUTPUT ?= build/images/$(basename $(notdir $(TEMPLATE)))
EXTRA ?=
TARGET ?=
ONLY ?=
SEED ?=
INPUTS ?=
TURN ?=
WORKERS ?= 2

VENV := .venv/controller
UNIT_VENV := .venv/unit
PLAYBOOK := $(VENV)/bin/ansible-playbook
ANSIBLE_TEST := tests/ansible_test.sh
SYSTEM_PYTHON := /usr/bin/python3
# Without a password at hand, sudo asks for one; as root it is not needed.
BECOME = $(shell [ "$$(id -u)" = 0 ] || sudo -n true 2>/dev/null || echo --ask-become-pass)
RESULT := build/last-image.json
DIRECTORIES = -e image_build_work_dir=$(CURDIR)/build/work -e image_build_cache_dir=$(CURDIR)/.cache/packages

# Progress is live through a pipe, too.
export PYTHONUNBUFFERED := 1
export ANSIBLE_CONFIG := $(CURDIR)/ansible.cfg
export PATH := $(CURDIR)/$(VENV)/bin:$(PATH)

.DEFAULT_GOAL := help
.PHONY: help setup setup-tests host image validate boot test lint lint-content lint-sanity unit fuzz attacks integration e2e matrix bench clean distclean

help:
	@echo "make image [TEMPLATE=file] [OUTPUT=directory] [EXTRA='-e ...']   build an image on this machine"
	@echo "make validate [TEMPLATE=file] [EXTRA=--diff]                     show what a template is merged to"
	@echo "make boot                                                        boot the last image in QEMU"
	@echo "make test [TURN=1|2|3]                                           lint, unit, integration and e2e"
	@echo "make attacks [ONLY=name]                                         attack the repositories of a build host in every way"
	@echo "make host                                                        install what building and testing need here"
	@echo "make lint | unit | integration [TARGET=name] | e2e [ONLY=case,... | TURN=n] | matrix | bench | clean | distclean"
	@echo "make fuzz [INPUTS=n] [SEED=n] [ONLY=target,...]                  damaged inputs for every parser, for a minute or n"

setup: $(VENV)/.controller collections/ansible_collections/os_image/composer

setup-tests: setup $(VENV)/.tests $(UNIT_VENV)/.ready

# Modules of Python's own venv need ensurepip, which Debian keeps in a package of its own.
$(VENV)/.controller: requirements.txt
	@echo "Setting up ansible-core in $(VENV)"
	@find_python() { \
	    for python in python3 $(SYSTEM_PYTHON) python3.13 python3.12 python3.11; do \
	        if $$python -c 'import ensurepip, sys, venv; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' \
	            >/dev/null 2>&1; then echo $$python; return 0; fi; \
	    done; return 1; \
	}; \
	as_root() { if [ "$$(id -u)" = 0 ]; then "$$@"; else sudo "$$@"; fi; }; \
	python=$$(find_python) || { \
	    echo "Installing python3-venv"; \
	    as_root apt-get -qq update && \
	    as_root env DEBIAN_FRONTEND=noninteractive apt-get -qq install --no-install-recommends python3-venv \
	        >/dev/null && \
	    python=$$(find_python); \
	} || { echo "make: no Python between 3.11 and 3.13 with venv was found; install python3-venv." >&2; exit 1; }; \
	$$python -m venv --clear $(VENV) && $(VENV)/bin/python -m pip install -qq -r requirements.txt
	@touch $@

$(VENV)/.tests: $(VENV)/.controller tests/requirements.txt
	@echo "Setting up the tools for tests in $(VENV)"
	@$(VENV)/bin/python -m pip install -qq -r requirements.txt -r tests/requirements.txt
	@touch $@

# The unit tests import what the modules import, so they need the distribution's own Python with its libraries.
$(UNIT_VENV)/.ready: $(VENV)/.tests tests/unit/requirements.txt
	@echo "Setting up the unit tests' Python in $(UNIT_VENV)"
	@$(VENV)/bin/virtualenv --quiet --clear --python $(SYSTEM_PYTHON) --system-site-packages $(UNIT_VENV)
	@$(UNIT_VENV)/bin/python -m pip install -qq -r requirements.txt -r tests/unit/requirements.txt
	@touch $@

collections/ansible_collections/os_image/composer:
	@mkdir -p $(@D)
	@ln -sfn ../../.. $@

# What `make test` needs on this machine.
host: setup
	@echo "Making this machine ready to build and boot images"
	@$(PLAYBOOK) $(BECOME) playbooks/build_host.yml -e @tests/packages.yml

image: setup
	@echo "Building $(TEMPLATE) into $(OUTPUT)"
	@$(PLAYBOOK) $(BECOME) playbooks/build-image.yml \
	    -e image_build_template=$(abspath $(TEMPLATE)) \
	    -e image_build_output_dir=$(abspath $(OUTPUT)) \
	    -e image_build_output_group=$$(id -g) \
	    $(DIRECTORIES) \
	    -e image_build_result_file=$(CURDIR)/$(RESULT) \
	    $(EXTRA)
	@$(if $(or $(findstring --check,$(EXTRA)),$(findstring --tags,$(EXTRA))),,$(VENV)/bin/python -c 'import json, sys; \
	    result = json.load(open(sys.argv[1])); \
	    print("Output directory:", result["output_dir"]); print("Image:", result["image"])' $(RESULT))

validate: setup
	@$(PLAYBOOK) $(BECOME) playbooks/validate-template.yml \
	    -e image_build_template=$(abspath $(TEMPLATE)) $(DIRECTORIES) $(EXTRA)

# The console is shown live by tail, which ends with the shell that started it.
boot: setup
	@test -f $(RESULT) || { echo "make: there is no image yet; run make image first." >&2; exit 1; }
	@image=$$($(VENV)/bin/python -c 'import json, sys; print(json.load(open(sys.argv[1]))["image"])' $(RESULT)) && \
	    console="$(CURDIR)/build/boot-test/$$(basename "$$image").console.log" && \
	    echo "Booting $$image" && mkdir -p build/boot-test && rm -f "$$console" && \
	    { tail --follow=name --retry --lines=+1 --pid=$$$$ "$$console" 2>/dev/null & } && \
	    $(PLAYBOOK) $(BECOME) playbooks/boot-image.yml -e image_boot_test_image="$$image" \
	        -e image_boot_test_output_dir="$(CURDIR)/build/boot-test" $(EXTRA) && \
	    echo "Console: $$console" && echo "Picture: $${console%.console.log}.png"

# The host first: some checks of lint leave out what they find no program for.
test: host lint unit integration e2e

# Both halves take about as long. What each says is shown when it has ended.
lint: setup-tests
	@echo "Checking style, types, documentation and the collection's sanity"
	@$(MAKE) --no-print-directory --jobs=2 --output-sync=target lint-content lint-sanity

lint-content: setup-tests
	@$(VENV)/bin/ruff check plugins tests
	@$(VENV)/bin/ruff format --check --quiet plugins tests
	@cd collections && ../$(VENV)/bin/mypy --config-file ../.mypy.ini --explicit-package-bases --namespace-packages \
	    --no-error-summary -p ansible_collections.os_image.composer.plugins
	@$(VENV)/bin/yamllint --strict .
	@$(VENV)/bin/ansible-lint --offline -q
	@$(VENV)/bin/antsibull-changelog lint

lint-sanity: setup-tests
	@$(ANSIBLE_TEST) sanity

unit: host setup-tests
	@echo "Running the unit tests"
	@PYTHONPATH=collections $(UNIT_VENV)/bin/python -m pytest -q -n $(WORKERS) --dist worksteal tests/unit
	@$(MAKE) --no-print-directory fuzz SEED=1

# The same inputs in each run of `make test`, as far as a minute goes; others where no seed is given.
fuzz: host setup-tests
	@echo "Feeding the parsers with damaged inputs"
	@PYTHONPATH=collections $(UNIT_VENV)/bin/python -m tests.fuzz --workers=$(WORKERS) \
	    $(addprefix --seed=,$(SEED)) $(addprefix --inputs=,$(INPUTS)) $(addprefix --only=,$(ONLY))

# One way of each kind is tried in the unit tests.
attacks: host setup-tests
	@echo "Attacking the repositories of a build host"
	@PYTHONPATH=collections $(UNIT_VENV)/bin/python -m tests.attacks $(addprefix --only=,$(ONLY))

integration: host setup-tests
	@echo "Running the integration tests"
	@$(ANSIBLE_TEST) integration $(TARGET)
ifeq ($(TARGET),)
	@echo "Comparing the resolver's answers with apt's and dnf's own"
	@PYTHONPATH=collections $(UNIT_VENV)/bin/python -m pytest -q -n $(WORKERS) --dist loadfile \
	    tests/integration/real_mirror tests/integration/rpm_distribution
endif

e2e: host setup-tests
	@echo "Building and booting whole images"
	@PYTHONPATH=collections $(UNIT_VENV)/bin/python -m tests.e2e --turn=$(TURN) $(or $(ONLY),--with-matrix)

matrix: host setup-tests
	@echo "Building and booting everything of the matrix into docs/matrix.md"
	@PYTHONPATH=collections $(UNIT_VENV)/bin/python -m tests.matrix

bench: host setup-tests
	@echo "Measuring"
	@PYTHONPATH=collections $(UNIT_VENV)/bin/python -m tests.bench

clean:
	@echo "Removing what was built"
	@rm -rf build .ansible .hypothesis .mypy_cache .pytest_cache .ruff_cache tests/output .cache/ansible_test

distclean: clean
	@rm -rf .cache .venv collections/ansible_collections
