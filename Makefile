# `make demo` and `make test` do all the set-up themselves; `make help` lists the targets.
PYTHON := .venv/bin/python
SETUP := python3 tools/setup.py
SOURCES := src tests tools
CLANG ?= clang
BPF_OBJECTS := src/spo/bpf/objects/recorder.x86_64.o src/spo/bpf/objects/recorder.aarch64.o
BPF_TARGET_x86_64 := x86
BPF_TARGET_aarch64 := arm64

.PHONY: help setup bpf image demo up down test check format lint types layers unit fidelity generate replay faults fuzz bench lock

help: ## List the targets
	@sed -n 's/^\([a-z]*\):.*## /\1: /p' $(MAKEFILE_LIST)

setup: ## Install Debian packages, .venv with locked versions, kubectl; does nothing the second time
	@$(SETUP)

bpf: $(BPF_OBJECTS) ## Compile the BPF objects of both architectures

# bpftool leaves out the debug information that only debuggers read.
src/spo/bpf/objects/recorder.%.o: bpf/recorder.bpf.c bpf/recorder.h bpf/kernel_types.h | setup
	@mkdir -p $(@D)
	$(CLANG) -g -O2 -Wall -Wextra -Werror -Wno-unused-parameter -mcpu=v3 -target bpf \
		-D__TARGET_ARCH_$(BPF_TARGET_$*) -c $< -o $@.full
	PATH="$$PATH:/usr/sbin" bpftool gen object $@ $@.full
	@rm $@.full

image: setup bpf ## Build the operator's image; ARCH=arm64 for that architecture, REFRESH=1 for the newest packages
	@$(PYTHON) tools/image.py --release $(if $(ARCH),--arch=$(ARCH)) $(if $(REFRESH),--refresh)

demo: setup bpf ## Start a one-machine cluster, show a profile from apply to enforcement, stop everything
	@$(PYTHON) tools/demo.py

up: setup bpf ## Start the one-machine cluster with the operator and print the KUBECONFIG line
	@$(PYTHON) tools/devcluster.py up

down: setup ## Stop it and remove what it put on this machine
	@$(PYTHON) tools/devcluster.py down

test: check ## Everything: check, then the tests that need root, Podman, or a cluster
	@$(SETUP) --fidelity --monitoring --fuzz
	$(PYTHON) -m pytest tests/contract tests/e2e tests/fidelity

check: setup bpf ## Format, lint, types, layers, unit tests; no root needed
	@$(MAKE) --no-print-directory -j2 --output-sync=target lint types layers unit

lint:
	.venv/bin/ruff format --check $(SOURCES)
	.venv/bin/ruff check $(SOURCES)

types:
	.venv/bin/mypy

layers:
	.venv/bin/lint-imports

unit:
	$(PYTHON) -m pytest tests/unit

fidelity: setup bpf ## Compare the recorder with strace, program by program; writes bench/FIDELITY.md
	@$(SETUP) --fidelity
	$(PYTHON) -m pytest tests/fidelity --fidelity-table=bench/FIDELITY.md

format: ## Rewrite the sources in the project's format
	.venv/bin/ruff format $(SOURCES)
	.venv/bin/ruff check --fix $(SOURCES)

generate: ## Write generated files again: CRDs, manifests, syscall tables
	$(PYTHON) tools/generate_crds.py
	$(PYTHON) tools/generate_manifests.py
	$(PYTHON) tools/generate_syscall_tables.py

replay: setup ## Print which recorded scenarios onenode answers as a real API server did
	@$(PYTHON) -m tests.contract.kube_api_report

FAULTS := tests/unit/kube tests/unit/controller tests/unit/host tests/unit/daemon \
	tests/unit/manager/test_profile_life_faults.py tests/unit/manager/test_liveness.py \
	tests/contract/test_process_shutdown.py tests/e2e/test_profile_faults.py tests/e2e/test_bad_input.py \
	tests/e2e/test_strict_syscalls.py tests/e2e/test_api_server_faults.py tests/e2e/test_deletion_race.py

faults: setup bpf ## Test what goes wrong: broken API answers, kills, full disks, bad profiles, races; needs root
	$(PYTHON) -m pytest $(FAULTS)

FUZZ_S := 300

fuzz: setup ## Fuzz the parsers of audit records for FUZZ_S seconds
	@$(SETUP) --fuzz
	PYTHONPATH=src $(PYTHON) tests/fuzz/audit_lines.py -max_total_time=$(FUZZ_S) -max_len=9000

bench: setup bpf ## Measure; results go to bench/RESULTS.md
	$(PYTHON) bench/onenode.py
	$(PYTHON) bench/installation.py
	$(PYTHON) bench/profile_latency.py
	$(PYTHON) bench/webhook.py
	$(PYTHON) bench/recorder.py
	$(PYTHON) bench/recorder_process.py
	$(PYTHON) bench/log_enricher.py
	$(PYTHON) bench/recording.py

COMPILE := CUSTOM_COMPILE_COMMAND="make lock" .venv/bin/pip-compile -q --generate-hashes --allow-unsafe \
	--strip-extras --no-emit-index-url --no-emit-find-links --no-emit-trusted-host

lock: ## Resolve the newest versions allowed by pyproject.toml and lock them with hashes
	$(COMPILE) -o requirements/runtime.txt pyproject.toml
	$(COMPILE) --extra onenode --extra dev -c requirements/runtime.txt -o requirements/dev.txt pyproject.toml
