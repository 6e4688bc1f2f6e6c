# The words of daily work; `make` alone lists them. What is missing on this machine is installed by scripts/setup.
#
# WITHOUT="envoy istio wasm-bindgen" skips the tests that need these. ENVOY names another Envoy. ARGS goes to `shunt sim`.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.NOTPARALLEL:

# Where rustup puts cargo, for shells that have not read its settings yet.
export PATH := $(PATH):$(HOME)/.cargo/bin
export WITHOUT

LOCKED := $(if $(CI),--locked)
OUT := $(or $(CARGO_TARGET_DIR),target)
WASM32 := --target wasm32-unknown-unknown
# All but what exists for wasm32 only. Naming the whole workspace makes the command and the tests share one build of wasmtime.
NATIVE := --workspace --exclude guest-empty --exclude guest-one-header
SAY := @printf '==> %s\n'

.PHONY: help
help: ## List these words
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' Makefile | while IFS=$$'\t' read -r word says; do printf 'make %-17s %s\n' "$$word" "$$says"; done

.PHONY: demo
demo: command ## Build the filter and the command, and show a rehearsal
	$(SAY) 'shunt sim: the built-in demonstration'
	@$(OUT)/release/shunt sim

.PHONY: test
test: command ## Run all tests: natively, in the simulator, the proxy and real Envoy, and on wasm32
	@scripts/setup envoy wasm-bindgen
	@scripts/test native wasm32

.PHONY: lint
lint: format clippy ## Check the format, and let clippy read everything; warnings are errors

.PHONY: format
format:
	@scripts/setup lint
	$(SAY) 'cargo fmt: the format'
	@cargo fmt --check

# The command's build script wants the filter to be there, for clippy too.
.PHONY: clippy
clippy: wasm
	@scripts/setup lint
	$(SAY) 'clippy: all crates'
	@cargo clippy $(LOCKED) --release $(NATIVE) --all-targets -- -D warnings
	$(SAY) 'clippy: the filter on wasm32'
	@cargo clippy $(LOCKED) --release -p traffic-filter -p guest-empty -p guest-one-header $(WASM32) -- -D warnings

.PHONY: fmt
fmt: ## Format the sources
	@scripts/setup lint
	$(SAY) 'cargo fmt'
	@cargo fmt

.PHONY: wasm
wasm: ## Build the filter, traffic_filter.wasm
	@scripts/setup wasm32
	$(SAY) 'building the filter for wasm32'
	@cargo build $(LOCKED) --profile wasm $(WASM32) -p traffic-filter

# The command carries the filter, so the filter is built first.
.PHONY: command
command: wasm
	$(SAY) 'building the command'
	@cargo build $(LOCKED) --release $(NATIVE) --bin shunt

.PHONY: sim
sim: command ## Run `shunt sim $(ARGS)`; without ARGS, the built-in demonstration
	$(SAY) 'shunt sim'
	@$(OUT)/release/shunt sim $(ARGS)

.PHONY: golden
golden: command ## Rewrite the golden files; read the difference before you commit it
	@scripts/setup envoy
	@UPDATE_GOLDEN=1 scripts/test native

.PHONY: envoy
envoy: command ## Run only the tests with real Envoy
	@scripts/setup envoy
	@scripts/test native -- envoy

.PHONY: test-envoy-matrix
test-envoy-matrix: command ## Run the tests with Envoy from 1.36 to 1.40, one after the other, and show a table
	@scripts/setup envoy-matrix
	@scripts/envoy-matrix

.PHONY: test-istio
test-istio: command ## Run the tests with a real istiod, which this builds first (Go, some minutes)
	@scripts/setup envoy istio
	@scripts/test istio

.PHONY: sim-debug
sim-debug: command ## Compare rehearsals of the command and of a debug build, byte by byte (first ten minutes, then five)
	$(SAY) 'the same bytes in a debug build'
	@scripts/sim-debug

# Same seed, same rules and requests; FROM=N begins with the configuration of that number; SHRINK=0 leaves mismatches as large as they were found.
.PHONY: differential
differential: command ## Compare N (10000) random configurations of SEED (1) in every arm with native Envoy
	@scripts/setup envoy
	@SHUNT_DIFFERENTIAL=$(or $(N),10000) SHUNT_SEED=$(or $(SEED),1) SHUNT_FROM=$(or $(FROM),0) SHUNT_SHRUNK=$(or $(SHRINK),3) scripts/test native -- random_rules --nocapture

.PHONY: fidelity
fidelity: command ## Play stories in real Envoy in real time (nine minutes), beside what rehearsals say of them
	@scripts/setup envoy
	@scripts/test native -- rehearsals_say_what_happens --ignored --nocapture

.PHONY: fuzz
fuzz: ## Look for inputs that harm, FUZZ_SECONDS (60) for each target; TARGET names one
	@scripts/setup fuzz
	@scripts/fuzz $(TARGET)

.PHONY: bench
bench: command ## Measure the filter in Envoy, and the simulator
	@scripts/setup envoy bench-tools
	@ENVOY="$${ENVOY:-$(CURDIR)/.cache/envoy/envoy}" scripts/bench
