# Two commands do everything: `make run` starts a cluster, `make test` proves it. Both first see to what they need.

ARGS ?=
export PATH := $(HOME)/.cargo/bin:$(PATH)
# What `cargo` itself would take, so that the scripts find the binary too.
export CARGO_TARGET_DIR ?= $(CURDIR)/target
MARTLET := $(CARGO_TARGET_DIR)/release/martlet

CACHE := $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/martlet

.PHONY: run soak test test-rust test-large conformance-swift test-openstack build deps deps-test deps-openstack lint bench bench-scale clean

run: build ## start the all-in-one cluster; make run ARGS="--port 8090 --data DIR"
	@exec $(MARTLET) dev $(ARGS)

test: deps deps-test lint test-rust conformance-swift ## every test

test-rust: build
	cargo test --release --locked --workspace --no-fail-fast

# The objects, archives and trees that users complain about. Needs 60 GB where temporary files are (`TMPDIR`).
test-large: build deps-test ## what moves a lot, at full size
	MARTLET_TEST_LARGE=1 cargo test --release --locked --no-fail-fast --test memory --test swift_client --test aws_client \
		--test bulk --test large_objects_stream -- --test-threads 1

build: deps
	@tools/announce-first-build
	cargo build --release --locked

# Swift's own functional suite, on a cluster in one process and on one of several; every outcome is pinned.
conformance-swift: build deps-test ## CONFORMANCE="--only test/functional/test_slo.py" for a part
	@echo "Swift's functional suite, one process:"
	@$(CACHE)/conformance/bin/python tests/conformance/swift.py --martlet $(MARTLET) --cache $(CACHE) $(CONFORMANCE)
	@echo "Swift's functional suite, a process for each storage node:"
	@$(CACHE)/conformance/bin/python tests/conformance/swift.py --martlet $(MARTLET) --cache $(CACHE) --processes $(CONFORMANCE)

# Real Keystone, Glance, Horizon, Heat's engine, Cinder's backup drivers and RabbitMQ, on a cluster that stands in their catalogue as `object-store`.
OPENSTACK := $(CACHE)/openstack
test-openstack: build deps-openstack ## STORIES="-k glance" for a part
	@cd tests/openstack && $(OPENSTACK)/clients/bin/python -m pytest --martlet=$(MARTLET) \
		--services=$(OPENSTACK)/services --heat=$(OPENSTACK)/heat --horizon=$(OPENSTACK)/horizon $(STORIES)

lint: deps
	cargo fmt --all --check
	@tools/announce-first-build
	cargo clippy --release --locked --workspace --all-targets -- -D warnings

SOAK_SECONDS ?= 1800
soak: build ## random requests and faults against a model for SOAK_SECONDS; prints the seed of each run
	MARTLET_SOAK_SECONDS=$(SOAK_SECONDS) cargo test --release --locked --test model -- --nocapture

bench: build ## throughput and latency of the canonical workload
	cargo bench --locked --bench cluster

bench-scale: build ## what large devices and containers cost, against their goals
	cargo bench --locked --bench scale

deps: ## what the build needs: installs it when root, else names the command
	@tools/deps build

deps-test: ## the clients and Python environment that the tests use
	@tools/deps test

deps-openstack: ## a cloud's services and clients, for the stories
	@tools/deps openstack

clean:
	cargo clean
