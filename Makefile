# Everything that a person or CI runs here. `make help` lists it.

CARGO ?= cargo
# Where tools that tests build or fetch are kept, outside the sources.
export SUBM_CACHE ?= $(if $(XDG_CACHE_HOME),$(XDG_CACHE_HOME),$(HOME)/.cache)

LISTEN ?= 127.0.0.1:5300
# How long each fuzz target runs, in seconds.
FUZZ_TIME ?= 60
# What builds images (docker, podman, buildah), and how they are called: REPOSITORY/NAME:VERSION, where a repository is given.
ENGINE ?= docker
REPOSITORY ?=
VERSION ?= $(shell sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -1)
IMAGES ?= lighthouse-agent lighthouse-coredns submariner-gateway submariner-route-agent nettest

.PHONY: help run demo images test test-tools lint fmt bench instructions fuzz

help: ## Lists the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/  make \1\t\2/' | expand -t 20

run: ## Builds lighthouse-dns and serves examples/ on $(LISTEN)
	@$(CARGO) build --quiet -p subm-dns
	@LISTEN=$(LISTEN) exec examples/serve.sh

demo: test-tools ## Two clusters and a broker: deploys, joins, exports, resolves, shows; then a shell, or takes all down
	@$(CARGO) build --quiet -p subm-dns -p subm-lighthouse-agent -p subm-dataplane -p subm-nettest -p subm-subctl -p subm-e2e -p subm-test-support
	@exec $${CARGO_TARGET_DIR:-target}/debug/demo

images: ## Container images as $(REPOSITORY)/NAME:$(VERSION), by $(ENGINE); see docs/images.md
	@for image in $(IMAGES); do \
	  $(ENGINE) build -f deploy/images/Dockerfile --target $$image -t $(REPOSITORY:%=%/)$$image:$(VERSION) $(BUILD_ARGS) . || exit; \
	done

test: test-tools ## Runs every test; installs and builds what they need first
	$(CARGO) test --workspace

test-tools: ## Gets what tests run: control planes, kube-proxy, etcd, CoreDNS, dig, kdig, Knot, NSD, Unbound, a guest kernel
	tests/tools.sh
	$(CARGO) run --quiet -p subm-test-support --bin fetch-tools
	@tests/guest/build-kernel.sh >/dev/null || echo "tests that need the guest's kernel will be skipped" >&2

lint: ## Formatting, clippy and rustdoc, warnings denied
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets -- -D warnings
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --workspace --no-deps --quiet

fmt: ## Formats the sources
	$(CARGO) fmt --all

bench: ## CPU per query and latency beside other servers; see bench/README.md
	bench/run.sh

instructions: ## Records how many instructions a query takes, by kind; `make test` holds on to it
	SUBM_RECORD_INSTRUCTIONS=1 $(CARGO) test -p subm-bench-respond

fuzz: ## Each fuzz target for $(FUZZ_TIME) seconds; needs a nightly compiler and cargo-fuzz
	dns/fuzz/run.sh $(FUZZ_TIME)
