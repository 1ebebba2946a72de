#!/usr/bin/env bash
# Runs every fuzz target for some seconds (first argument, 60 by default). A finding stops it; the input is then in
# artifacts/, and belongs into a test.
set -euo pipefail
cd "$(dirname "$0")"
seconds=${1:-60}
cache=${SUBM_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}}/subm
rustup run nightly rustc --version >/dev/null 2>&1 || {
    echo "fuzzing needs a nightly compiler: rustup toolchain install nightly" >&2
    exit 1
}
export PATH=$cache/cargo/bin:$PATH
command -v cargo-fuzz >/dev/null || cargo install --quiet --locked --root "$cache/cargo" cargo-fuzz
log=$(mktemp)
trap 'rm -f "$log"' EXIT
for target in packet corefile manifests; do
    echo "== $target, $seconds s"
    cargo +nightly fuzz run --fuzz-dir . --target-dir "$cache/fuzz-target" "$target" -- \
        -max_total_time="$seconds" -max_len=4096 -print_final_stats=1 >"$log" 2>&1 || {
        tail -n 60 "$log" >&2
        echo "$target found something, or could not run; inputs are in dns/fuzz/artifacts/$target" >&2
        exit 1
    }
    grep -E '^stat::(number_of_executed_units|new_units_added|peak_rss_mb)' "$log"
done
