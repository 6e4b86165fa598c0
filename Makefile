# Two commands to know: `make up` starts the reference platform, `make test` proves everything.

CARGO ?= cargo
EXAMPLE := examples/discovery
TARGET := $(or $(CARGO_TARGET_DIR),target)

.DEFAULT_GOAL := help
.PHONY: help up test bench fmt check docs tools

help: ## List the targets
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/  make \1\t\2/p' Makefile | expand -t 16

up: ## Build everything, start examples/discovery and print its addresses
	-$(CARGO) xtask tools --for up
	$(CARGO) build --package plimsoll --bins
	$(TARGET)/debug/plimsoll up $(EXAMPLE)

test: ## Run every test: the workspace, the example, the whole from end to end
	-$(CARGO) xtask tools --for test
	$(CARGO) build --workspace --bins
	$(CARGO) test --manifest-path $(EXAMPLE)/Cargo.toml
	$(CARGO) test --workspace

bench: ## Measure, and write docs/benchmarks.md
	$(CARGO) xtask tools --for bench
	$(CARGO) xtask bench runtime

fmt: ## Format every Rust file
	$(CARGO) fmt --all
	$(CARGO) fmt --all --manifest-path $(EXAMPLE)/Cargo.toml

check: ## Everything that CI checks, without the tests
	$(CARGO) xtask ci --fast

docs: ## Write the generated pages under docs/reference
	$(CARGO) xtask docs

tools: ## Install the programs that tests and examples use, or say what to install
	$(CARGO) xtask tools
