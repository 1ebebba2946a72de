#!/usr/bin/env bash
# Builds the release binaries and measures. Arguments go to `bench`: names of tables, --rounds, --seconds, --services.
set -euo pipefail
cd "$(dirname "$0")/.."
tests/tools.sh
cargo build --quiet --release -p subm-dns -p subm-lighthouse-agent -p subm-dataplane -p subm-bench
target=${CARGO_TARGET_DIR:-target}/release
exec "$target/bench" --binaries "$target" "$@"
