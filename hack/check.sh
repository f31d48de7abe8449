#!/bin/bash
# check.sh: what must hold before the tests are worth running: format, clippy, import rules.
set -eu
cd "$(dirname "$0")/.."
cargo fmt --check
cargo clippy --locked --quiet --all-targets -- -D warnings
cargo test --locked --quiet --test layers
echo "check: format, clippy and import rules hold"
