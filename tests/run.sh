#!/usr/bin/env bash
# Runs every test: with all features and with none, doctests, the models of our own atomics, the
# examples, a real Prometheus, a real OpenTelemetry collector and a real browser. Needs cargo, and python3 with pip;
# installs the rest by apt and pip.
set -euo pipefail
cd "$(dirname "$0")/.."

step() { printf '\n== %s\n' "$*"; }

for features in --all-features --no-default-features; do
    step "tests, $features"
    cargo test --quiet "$features" --lib --test it -- --skip realtime
    step "a program whose allocator is stuck, $features"
    cargo test --quiet "$features" --test closed_look
    step "tests in real time, one by one, $features"
    cargo test --quiet "$features" --test it -- realtime --test-threads=1
done

step "what the watchdog asks of the system"
tests/syscalls.sh

step "doctests"
cargo test --quiet --all-features --doc

step "every interleaving of our own atomics"
RUSTFLAGS="${RUSTFLAGS:-} --cfg loopmon_loom" LOOM_MAX_PREEMPTIONS=3 \
    cargo test --quiet --release --all-features --lib --target-dir target/loom loom_tests

step "examples"
tests/examples.sh

step "a library in another program"
tests/plugin.sh

step "Prometheus"
tests/prometheus.sh

step "a real OpenTelemetry collector"
tests/opentelemetry.sh

step "the live page in a real browser"
tests/dashboard.sh
