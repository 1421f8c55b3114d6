#!/usr/bin/env bash
# Runs tests/soak for some minutes: tests/soak.sh [MINUTES].
set -euo pipefail
cd "$(dirname "$0")/.."

if [[ $(uname -s) != Linux ]]; then
    echo "skipped: only Linux"
    exit 0
fi
cargo run --quiet --all-features --example soak -- --minutes "${1:-2}"
