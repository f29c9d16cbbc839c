# Two commands do everything: `make run` starts a cluster, `make test` proves it. Both first see to what they need.

ARGS ?=
export PATH := $(HOME)/.cargo/bin:$(PATH)
# What `cargo` itself would take, so that the scripts find the binary too.
export CARGO_TARGET_DIR ?= $(CURDIR)/target
MARTLET := $(CARGO_TARGET_DIR)/release/martlet

.PHONY: run test test-rust test-clients build deps deps-test lint bench clean

run: build ## start the all-in-one cluster; make run ARGS="--port 8090 --data DIR"
	@exec $(MARTLET) dev $(ARGS)

test: deps deps-test lint test-rust ## every test

test-rust: build
	cargo test --release --locked --workspace

build: deps
	@tools/announce-first-build
	cargo build --release --locked

lint: deps
	cargo fmt --all --check
	@tools/announce-first-build
	cargo clippy --release --locked --workspace --all-targets -- -D warnings

bench: build ## throughput and latency of the canonical workload
	cargo bench --locked --bench cluster

deps: ## what the build needs: installs it when root, else names the command
	@tools/deps build

deps-test: ## the clients and Python environment that the tests use
	@tools/deps test

clean:
	cargo clean
