# What people run: make demo, make test, make prove, make lint, make bench.
# Everything that these need is set up on first use, in the open, under $(CACHE); a second
# run finds it there.

SHELL := bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
.NOTPARALLEL:

CACHE ?= $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/tracegate
# One build directory for every clone, unless the caller has one already.
CARGO_TARGET_DIR ?= $(CACHE)/target
export CARGO_TARGET_DIR

CLIENTS_3 := $(CACHE)/clients-3.17
CLIENTS_2 := $(CACHE)/clients-2.22
CLIENTS_API := $(CACHE)/clients-api
CLIENTS_CATALOG := $(CACHE)/clients-catalog
CLIENTS_LAKE := $(CACHE)/clients-lake
DEBUG_BINARY := $(CARGO_TARGET_DIR)/debug/tracegate
RELEASE_BINARY := $(CARGO_TARGET_DIR)/release/tracegate

PROVE_DECISIONS ?= 20000000
PROVE_SEED ?= 1000000
# Random worlds in which our store is compared with MLflow; CONFORMANCE_FIRST_SEED takes others.
CONFORMANCE_SEEDS ?= 200

# No telemetry from the MLflow that the tests and the demo start.
export MLFLOW_DISABLE_TELEMETRY := true
export DO_NOT_TRACK := true

.PHONY: help
help:
	@printf '%s\n' \
	  'make demo    Tracegate with a store of its own, and callers to try (DEMO_ARGS="--port 8080")' \
	  'make test    unit and integration tests, routes, our API as described, the chart, and real clients' \
	  'make test-helm  the Helm chart, its settings, alert rules and image; part of make test' \
	  'make soak    kill -9 under load a hundred times (SOAK_ROUNDS=1000), then three replicas under ten minutes of faults (SOAK_SECONDS)' \
	  'make fuzz    every reader of requests under libFuzzer (FUZZ_SECONDS=60 each, FUZZ_TARGETS)' \
	  'make lint    formatting and clippy' \
	  'make prove   the policy engine beside casbin on tens of millions of decisions (PROVE_DECISIONS, PROVE_SEED)' \
	  'make conformance     the whole comparison of our store with a real MLflow (CONFORMANCE_SEEDS); part of make prove' \
  'make deny    licences and advisories of dependencies (needs cargo-deny)' \
	  'make bench   requests per second and latency, beside MLflow, its basic-auth and nginx' \
	  'make bench-identity  what it takes to know who calls, beside a check of a password' \
	  'make bench-policy    policy decisions beside casbin, Cedar and regorus; how they grow; start-up' \
	  'make bench-abuse     what a client notices while others abuse the gateway' \
  'make bench-replicas  how fast a revoke is everywhere, and what is allowed without the database' \
	  'make bench-embedded  our store beside mlflow server, without auth, with basic-auth, and with its cache' \
  'make bench-lake  spans a second into Delta tables, how soon traces are archived, and SQL beside plain DataFusion' \
  'make bench-audit   how long questions to an audit index of ten million records take' \
	  'make clean   remove build output and the Python environments'

# --- what people look at ------------------------------------------------------------------

.PHONY: demo
demo: rust
	cargo build --bin tracegate
	"$(DEBUG_BINARY)" demo $(DEMO_ARGS)

# --- tests --------------------------------------------------------------------------------

.PHONY: test test-rust test-routes test-api test-clients test-conformance test-replicas
test: test-rust test-routes test-api test-helm test-clients test-conformance test-replicas

# The store's tests start a PostgreSQL of their own, from the server programs on PATH. The second half runs the
# publication of policy through the interleavings of its threads.
test-rust: rust
	server_programs=$$(tests/setup/postgresql.sh) && \
	  echo "PostgreSQL server programs: $$server_programs" && \
	  PATH="$$server_programs:$$PATH" cargo test --workspace
	cargo test --manifest-path tests/loom/Cargo.toml

test-routes: clients-3 rust
	cargo build --bin tracegate
	mkdir -p "$(CACHE)"
	"$(DEBUG_BINARY)" routes --json >"$(CACHE)/routes.json"
	"$(CLIENTS_3)/bin/python" tests/routes/compare_routes.py "$(CACHE)/routes.json"

# Our own API as it describes itself, asked by schemathesis.
test-api: clients-api rust
	cargo build --bin tracegate
	TRACEGATE_BIN="$(DEBUG_BINARY)" "$(CLIENTS_API)/bin/python" tests/api/conformance.py $(API_ARGS)

# The chart, its settings, rules and image. helm and kubeconform are built the first time, in some three minutes.
.PHONY: test-helm
test-helm: clients-3 rust
	tests/setup/helm.sh "$(CLIENTS_3)/bin/python"
	cargo build --bin tracegate
	server_programs=$$(tests/setup/postgresql.sh) && PATH="$$server_programs:$$PATH" TRACEGATE_BIN="$(DEBUG_BINARY)" \
	  "$(CLIENTS_3)/bin/python" -m pytest -v -ra tests/helm $(PYTEST_ARGS)

# Real MLflow and Databricks clients and a real browser, through a real Tracegate, to a real MLflow server.
test-clients: clients-3 clients-2 clients-catalog clients-lake rust
	tests/setup/browser.sh
	tests/setup/oidc_provider.sh
	server_programs=$$(tests/setup/postgresql.sh) && echo "PostgreSQL server programs: $$server_programs"
	cargo build --bin tracegate
	TRACEGATE_BIN="$(DEBUG_BINARY)" MLFLOW2_PYTHON="$(CLIENTS_2)/bin/python" CATALOG_PYTHON="$(CLIENTS_CATALOG)/bin/python" \
	  LAKE_PYTHON="$(CLIENTS_LAKE)/bin/python" "$(CLIENTS_3)/bin/python" -m pytest -v -ra tests/clients $(PYTEST_ARGS)

# The same calls to a real MLflow and to our store: a sample of the wrong ones, and a few random worlds.
test-conformance: clients-3 clients-2 rust
	cargo build --bin tracegate
	TRACEGATE_BIN="$(DEBUG_BINARY)" MLFLOW2_PYTHON="$(CLIENTS_2)/bin/python" \
	  "$(CLIENTS_3)/bin/python" -m pytest -v -ra tests/conformance $(PYTEST_ARGS)

# Three replicas under load while each fault happens once; `make soak` has the long form.
test-replicas: clients-3 rust
	cargo build --bin tracegate
	server_programs=$$(tests/setup/postgresql.sh) && PATH="$$server_programs:$$PATH" TRACEGATE_BIN="$(DEBUG_BINARY)" \
	  "$(CLIENTS_3)/bin/python" -m pytest -v -s -ra tests/soak $(PYTEST_ARGS)

# The same scenarios straight at MLflow: is a failure ours or the scenario's?
.PHONY: test-clients-direct
test-clients-direct: clients-3 clients-2
	MLFLOW2_PYTHON="$(CLIENTS_2)/bin/python" \
	  "$(CLIENTS_3)/bin/python" -m pytest -v -ra tests/clients --direct $(PYTEST_ARGS)

# Every answered call must be in the record after each kill; then all that can happen to three replicas, again and again.
# TRACEGATE_OLD_BIN, a binary of the version before, makes one of them start as that.
.PHONY: soak
SOAK_ROUNDS ?= 100
SOAK_SECONDS ?= 600
SOAK_REPORT ?= $(CACHE)/soak.json
soak: clients-3 rust
	TRACEGATE_KILL_ROUNDS=$(SOAK_ROUNDS) cargo test --test integration kills:: -- --nocapture
	cargo build --bin tracegate
	TRACEGATE_BIN="$(DEBUG_BINARY)" TRACEGATE_KILL_ROUNDS=$(SOAK_ROUNDS) \
	  "$(CLIENTS_3)/bin/python" -m pytest -v -s tests/clients/test_embedded_faults.py -k kill
	server_programs=$$(tests/setup/postgresql.sh) && PATH="$$server_programs:$$PATH" TRACEGATE_BIN="$(DEBUG_BINARY)" \
	  TRACEGATE_SOAK_SECONDS="$(SOAK_SECONDS)" TRACEGATE_SOAK_REPORT="$(SOAK_REPORT)" \
	  "$(CLIENTS_3)/bin/python" -m pytest -v -s tests/soak

# Every reader of what callers send under libFuzzer, one after the other; `make test` runs them over their corpus.
.PHONY: fuzz
fuzz: rust
	FUZZ_SECONDS="$(or $(FUZZ_SECONDS),60)" tests/fuzz/run.sh $(FUZZ_TARGETS)

# --- the proof ----------------------------------------------------------------------------

# What `make test` does with the policy engine, a hundred times longer: docs/POLICY-PROOF.md.
.PHONY: prove
prove: clients-3 rust
	PROVE_DECISIONS="$(PROVE_DECISIONS)" PROVE_SEED="$(PROVE_SEED)" \
	  cargo test --release --lib policy::proof -- --include-ignored --nocapture --test-threads 1
	cargo build --release --bin tracegate
	TRACEGATE_BIN="$(RELEASE_BINARY)" CASBIN_RULES=200000 CASBIN_SAMPLE=12 \
	  "$(CLIENTS_3)/bin/python" -m pytest -v -s tests/clients/test_casbin_export.py
	$(MAKE) conformance

# What `make test` compares, all of it, and many more random worlds: docs/EMBEDDED-DIFFERENCES.md.
.PHONY: conformance
conformance: clients-3 clients-2 rust
	cargo build --release --bin tracegate
	TRACEGATE_BIN="$(RELEASE_BINARY)" MLFLOW2_PYTHON="$(CLIENTS_2)/bin/python" CONFORMANCE_SEEDS="$(CONFORMANCE_SEEDS)" CONFORMANCE_SHARE=1 \
	  "$(CLIENTS_3)/bin/python" -m pytest -v -ra tests/conformance $(PYTEST_ARGS)

# --- quality ------------------------------------------------------------------------------

.PHONY: lint deny
lint: rust
	cargo fmt --all --check
	cargo clippy --workspace --all-targets -- -D warnings

deny: rust
	@command -v cargo-deny >/dev/null || { echo 'error: cargo-deny is not installed; get it with: cargo install --locked cargo-deny' >&2; exit 1; }
	cargo deny check

# --- speed --------------------------------------------------------------------------------

.PHONY: bench bench-audit
bench: clients-3 rust
	tests/setup/bench_tools.sh
	cargo build --release --bin tracegate
	TRACEGATE_BIN="$(RELEASE_BINARY)" "$(CLIENTS_3)/bin/python" benches/http/bench.py $(BENCH_ARGS)
	$(MAKE) bench-identity BENCH_ARGS=

# Delta tables: LAKE_SPANS is how many the queries read.
LAKE_SPANS ?= 10000000
.PHONY: bench-lake
bench-lake: clients-3 rust
	tests/setup/bench_tools.sh
	cargo build --release --bin tracegate
	TRACEGATE_BIN="$(RELEASE_BINARY)" "$(CLIENTS_3)/bin/python" benches/lake/ingest.py $(BENCH_ARGS)
	TRACEGATE_BIN="$(RELEASE_BINARY)" "$(CLIENTS_3)/bin/python" benches/lake/archive.py
	cargo bench --workspace --bench tables -- $(LAKE_SPANS)

# What a client notices while others abuse the gateway.
.PHONY: bench-abuse
bench-abuse: clients-3 rust
	cargo build --release --bin tracegate
	TRACEGATE_BIN="$(RELEASE_BINARY)" "$(CLIENTS_3)/bin/python" benches/abuse.py $(BENCH_ARGS)

.PHONY: bench-embedded
bench-embedded: clients-3 rust
	tests/setup/bench_tools.sh
	cargo build --release --bin tracegate
	TRACEGATE_BIN="$(RELEASE_BINARY)" "$(CLIENTS_3)/bin/python" benches/embedded/bench.py $(BENCH_ARGS)

# What Tracegate's policy engine is compared with stays in a package, and a lock file, of its own.
ENGINES := benches/engines/Cargo.toml

.PHONY: bench-policy bench-replicas
bench-policy: clients-3 rust
	cargo bench --manifest-path $(ENGINES) --bench decisions -- $(BENCH_ARGS)
	cargo bench --manifest-path $(ENGINES) --bench growth -- --json "$(CACHE)/policy-cost.json" $(BENCH_ARGS)
	"$(CLIENTS_3)/bin/python" benches/engines/plot.py "$(CACHE)/policy-cost.json" docs/policy-cost.svg
	cargo build --release --manifest-path $(ENGINES) --bin startup
	cargo build --release --bin tracegate
	server_programs=$$(tests/setup/postgresql.sh) && PATH="$$server_programs:$$PATH" TRACEGATE_BIN="$(RELEASE_BINARY)" \
	  "$(CLIENTS_3)/bin/python" benches/engines/startup.py "$(CARGO_TARGET_DIR)/release/startup"

bench-replicas: clients-3 rust
	cargo build --release --bin tracegate
	server_programs=$$(tests/setup/postgresql.sh) && PATH="$$server_programs:$$PATH" TRACEGATE_BIN="$(RELEASE_BINARY)" \
	  "$(CLIENTS_3)/bin/python" benches/replicas/replicas.py $(BENCH_ARGS)

# What it takes to know who calls, beside MLflow's check of a password.
.PHONY: bench-identity
bench-identity: clients-3 rust
	"$(CLIENTS_3)/bin/python" benches/identity.py $(BENCH_ARGS)

# Questions to an audit index of ten million records; BENCH_ARGS="--events 1000000" for less.
bench-audit: clients-3 rust
	server_programs=$$(tests/setup/postgresql.sh) && \
	  PATH="$$server_programs:$$PATH" "$(CLIENTS_3)/bin/python" benches/audit_questions.py --directory "$(CACHE)" $(BENCH_ARGS)

# --- set-up -------------------------------------------------------------------------------

.PHONY: rust clients-3 clients-2 clients-api clients-catalog clients-lake clean
rust:
	@command -v cargo >/dev/null || { echo 'error: cargo was not found; install Rust 1.95 or later from https://rustup.rs' >&2; exit 1; }

clients-3:
	tests/setup/python_clients.sh 3.17 "$(CLIENTS_3)"

clients-api:
	tests/setup/api_client.sh "$(CLIENTS_API)"

clients-catalog:
	tests/setup/python_environment.sh catalog "$(CLIENTS_CATALOG)"

clients-lake:
	tests/setup/python_environment.sh lake "$(CLIENTS_LAKE)"

clients-2:
	tests/setup/python_clients.sh 2.22 "$(CLIENTS_2)"

clean:
	cargo clean
	rm -rf "$(CLIENTS_3)" "$(CLIENTS_2)" "$(CLIENTS_API)" "$(CLIENTS_CATALOG)" "$(CACHE)/routes.json"
