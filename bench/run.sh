#!/usr/bin/env bash
# Builds the release binaries and compares them; arguments go to `compare` (--rounds, --seconds, --services).
set -euo pipefail
cd "$(dirname "$0")/.."
command -v dnsperf >/dev/null || tests/tools.sh
cargo build --quiet --release -p subm-dns -p subm-bench
target=${CARGO_TARGET_DIR:-target}/release
exec "$target/compare" --binaries "$target" "$@"
